//! Foreign histories: each part of the formats, and texts that are none.

use proptest::prelude::*;
use serde_json::json;
use sim_core::check::{
    Budget, History, Outcome,
    foreign::{Format, Unreadable, read},
    models::KnownModel,
};

fn edn(text: &str) -> History {
    read(text, Format::Edn).unwrap()
}
fn refused(text: &str, format: Format) -> String {
    read(text, format).unwrap_err().to_string()
}

#[test]
fn all_of_the_notation_is_read() {
    let history = edn(r##"; a comment
        #jepsen.history.Op{:index 0, :process 0, :type :invoke, :f :write, :value {"a" [1 -2.5 3N nil true], :b #{:x}}}
        {:process 0 :type :ok :f :write #_{:nothing "here"} :value "é\n\u00e9\"" :extra #inst "2020"} "##);
    assert_eq!(history.operations()[0].input, json!({"a": [1, -2.5, 3, null, true], "b": ["x"]}));
    assert_eq!(history.operations()[0].outcome, Outcome::Ok(json!("é\né\"")));
    assert_eq!((history.operations()[0].line, history.operations()[0].line_completed), (2, 3));
    assert!(!history.is_timed());
}

#[test]
fn pairs_of_a_key_and_a_value_are_taken_apart_where_all_are_pairs() {
    let keys = |history: &History| history.operations().iter().map(|o| o.key.to_string()).collect::<Vec<_>>();
    let apart = edn(
        "{:process 0, :type :invoke, :f :read, :value [3 nil]} {:process 0, :type :ok, :f :read, :value [3 7]}
         {:process 0, :type :invoke, :f :cas, :value [\"x\" [1 2]]} {:process 0, :type :ok, :f :cas, :value [\"x\" [1 2]]}",
    );
    assert_eq!(keys(&apart), ["3", "x"]);
    assert_eq!(apart.operations()[0].outcome, Outcome::Ok(json!(7)));
    assert_eq!(apart.operations()[1].input, json!([1, 2]));
    // Two values to compare and set are no key and value ...
    let compare = edn(
        "{:process 0, :type :invoke, :f :cas, :value [1 2]} {:process 0, :type :ok, :f :cas, :value [1 2]}",
    );
    assert_eq!(keys(&compare), [""]);
    // ... nor are the parts of a transaction.
    let transaction = "{:process 0, :type :invoke, :f :txn, :value [[:r 1 nil] [:w 2 3]]}";
    assert_eq!(keys(&edn(transaction)), [""]);
}

#[test]
fn etcds_refused_compare_and_set_is_an_answer_and_jepsens_is_none() {
    let log = "INFO  jepsen.util - 0\t:invoke\t:write\t2\nINFO  jepsen.util - 0\t:ok\t:write\t2\n\
               INFO  jepsen.util - 0\t:invoke\t:cas\t[2 1]\nINFO  jepsen.util - 0\t:fail\t:cas\t[2 1]\n";
    let judge = |history: &History| KnownModel::CasRegister.linearizable(history, Budget::default());
    assert!(judge(&read(log, Format::Etcd).unwrap()).is_violated(), "2 was there");
    let history = edn(
        "{:process 0, :type :invoke, :f :write, :value 2} {:process 0, :type :ok, :f :write, :value 2}
         {:process 0, :type :invoke, :f :cas, :value [2 1]} {:process 0, :type :fail, :f :cas, :value [2 1]}",
    );
    assert!(judge(&history).is_ok(), "it failed for whatever reason");
}

#[test]
fn a_late_reply_finds_its_operation() {
    let history =
        edn("{:process 3, :type :invoke, :f :write, :value 1} {:process 3, :type :info, :f :write, :value 1}
         {:process 3, :type :invoke, :f :read} {:process 3, :type :ok, :f :write, :value 1}
         {:process 3, :type :ok, :f :read, :value 1}");
    assert!(history.operations().iter().all(|operation| operation.is_ok()));
    assert_ne!(history.operations()[0].process, history.operations()[1].process);
}

#[test]
fn times_are_kept_where_all_events_have_them_in_order() {
    let line = |kind: &str, time: &str| {
        format!("{{\"process\":1,\"type\":\"{kind}\",\"f\":\"read\",\"value\":null{time}}}\n")
    };
    let timed = line("invoke", ",\"time\":1500") + &line("ok", ",\"time\":2500");
    let history = read(&timed, Format::JsonLines).unwrap();
    assert!(history.is_timed());
    assert_eq!(history.operations()[0].completed.as_nanos(), 2500);
    let partly = line("invoke", ",\"time\":1500") + &line("ok", "");
    assert!(!read(&partly, Format::JsonLines).unwrap().is_timed());
    let back = line("invoke", ",\"time\":2500") + &line("ok", ",\"time\":1500");
    assert!(!read(&back, Format::JsonLines).unwrap().is_timed());
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let line = |text: &str, format| {
        let Unreadable { line, .. } = read(text, format).unwrap_err();
        line
    };
    assert_eq!(line("{:process 0, :type :invoke, :f :read}\n\n{:process 0 :type}", Format::Edn), 3);
    assert_eq!(line("{:process 0, :type :invoke, :f :read}\n\"never ends\n", Format::Edn), 2);
    assert_eq!(line("[{:process 0, :type :invoke, :f :read}]\n7", Format::Edn), 2);
    assert_eq!(line("{:process 0, :type :invoke, :f :read}\n]", Format::Edn), 2);
    assert_eq!(line("{\"process\":0,\"type\":\"invoke\",\"f\":\"read\"}\n[]", Format::JsonLines), 2);
    assert_eq!(line("\n{:process x, :type :ok, :f :get, :key \"1\", :value nil}", Format::KeyValue), 2);
    assert_eq!(
        line("INFO jepsen.util - 1 :invoke :read nil\nINFO jepsen.util - 1 :oops :read nil", Format::Etcd),
        2
    );
    assert_eq!(refused("", Format::Etcd), "line 1: there is no operation in it");
    assert!(refused(&"[".repeat(100_000), Format::Edn).contains("nested more than 100 deep"));
    let told =
        refused("{:process 0, :type :invoke, :f :read}\n{:process 0, :type :ok, :f :write}", Format::Edn);
    assert_eq!(told, "line 2: process 0 ends `write`, but what it invoked on line 1 is `read`");
}

#[test]
fn a_format_is_guessed_from_the_first_operation() {
    let cases = [
        ("; history\n\n{:process 0, :type :invoke}", Some(Format::Edn)),
        ("[{:process 0}]", Some(Format::Edn)),
        ("{\"process\": 0}", Some(Format::JsonLines)),
        ("INFO  jepsen.core - hello\nINFO  jepsen.util - 0\t:invoke\t:read\tnil", Some(Format::Etcd)),
        ("{:process 0, :type :invoke, :f :append, :key \"1\", :value \"x\"}", Some(Format::KeyValue)),
        ("{:process 0, :type :invoke, :f :append, :key \"1\", :value \"x\", :time 3}", Some(Format::Edn)),
        ("", None),
        ("hello", None),
    ];
    for (text, format) in cases {
        assert_eq!(Format::guess(text), format, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in "[\\[\\]{}():;#_\"\\\\ua-z0-9 \n\t.N,é-]{0,80}") {
        for format in Format::ALL {
            let _ = read(&text, format);
        }
    }

    #[test]
    fn no_mutilated_history_makes_a_reader_or_a_model_panic(
        from in any::<prop::sample::Index>(),
        until in any::<prop::sample::Index>(),
        with in "[\\[\\]{}\":a-z0-9é]{0,3}",
        sample in 0..4_usize,
    ) {
        let samples = [
            "{:process 0, :type :invoke, :f :cas, :value [1 2]}\n{:process 0, :type :ok, :f :cas, :value [1 2]}",
            "{\"process\":0,\"type\":\"invoke\",\"f\":\"txn\",\"value\":[[\"r\",\"x\",null]]}",
            "INFO  jepsen.util - 0\t:invoke\t:read\tnil\nINFO  jepsen.util - 0\t:ok\t:read\t3",
            "{:process 0, :type :invoke, :f :put, :key \"1\", :value \"x\"}",
        ];
        let text = samples[sample];
        let (from, until) = (from.index(text.len()), until.index(text.len()));
        let text = format!("{}{with}{}", &text[..from.min(until)], &text[from.max(until)..]);
        if let Ok(history) = read(&text, Format::ALL[sample]) {
            for model in KnownModel::ALL {
                if model.fits(&history).is_ok() {
                    prop_assert!(!model.linearizable(&history, Budget::default()).is_unknown());
                    prop_assert!(!model.sequential(&history, Budget::default()).is_unknown());
                }
            }
        }
    }
}

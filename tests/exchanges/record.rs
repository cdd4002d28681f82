//! Records anew: plays scenarios against the lab and writes down what it answers.

use super::lab::Lab;
use super::play::play;
use super::rules::Rules;
use super::scenario::Scenario;

/// `ANOLE_EXCHANGES` names the scenarios to record: `all`, or the beginnings of their names, with commas between.
#[test]
#[ignore = "needs the lab: ANOLE_EXCHANGES=all cargo test --test suite exchanges::record -- --ignored"]
fn anew() {
    let wanted = std::env::var("ANOLE_EXCHANGES").expect("ANOLE_EXCHANGES says which scenarios to record");
    let fits = |name: &str| wanted == "all" || wanted.split(',').any(|start| name.starts_with(start));
    let rules = Rules::read();
    let mut lab = Lab::open();
    let versions = lab.versions();
    let mut failed = Vec::new();
    for scenario in Scenario::all().into_iter().filter(|scenario| fits(&scenario.name)) {
        let played = lab.visit(&scenario, |lab, world| play(lab, world, &scenario, &rules));
        match played {
            Ok(mut recording) => {
                recording.taken_from = versions.clone();
                recording.write(&scenario);
            }
            Err(why) => failed.push(format!("{}: {why}", scenario.name)),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

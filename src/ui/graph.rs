//! The dependency graph as Graphviz (DOT) or Mermaid text.
//!
//! In: a [`Desired`] or a [`Plan`]. Out: text. An arrow points from a resource to what it needs. Parts stand with
//! their owner: an arrow to or from a part is drawn at the owner. Pure and in address order, so that two runs agree.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Address;
use crate::plan::{Plan, Verb};
use crate::resolve::Desired;

/// A graph of declared resources.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Graph {
    nodes: BTreeMap<Address, Option<Verb>>,
    edges: BTreeSet<(Address, Address)>,
}

impl Graph {
    /// What a spec wants.
    #[must_use]
    pub fn of_desired(desired: &Desired) -> Self {
        let mut graph = Self::default();
        for (address, resource) in &desired.resources {
            graph.add(address, None, resource.needs.iter().map(|need| &need.address));
        }
        graph
    }

    /// What a plan is about to do.
    #[must_use]
    pub fn of_plan(plan: &Plan) -> Self {
        let mut graph = Self::default();
        for (address, action) in &plan.actions {
            graph.add(address, Some(action.verb), action.needs.iter());
        }
        graph
    }

    fn add<'a>(&mut self, address: &Address, verb: Option<Verb>, needs: impl Iterator<Item = &'a Address>) {
        let owner = |address: &Address| address.owner().unwrap_or_else(|| address.clone());
        let from = owner(address);
        if address.part.is_none() || !self.nodes.contains_key(&from) {
            self.nodes.insert(from.clone(), if address.part.is_none() { verb } else { None });
        }
        for need in needs {
            let to = owner(need);
            if to != from {
                self.edges.insert((from.clone(), to));
            }
        }
    }

    /// Graphviz text.
    #[must_use]
    pub fn dot(&self) -> String {
        let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut text = "digraph anole {\n  rankdir = \"RL\";\n  node [shape = box, style = rounded];\n".to_owned();
        for (address, verb) in &self.nodes {
            let colour = verb.and_then(colour).map(|colour| format!(" [color = {colour}]")).unwrap_or_default();
            text.push_str(&format!("  {}{colour};\n", quote(&address.to_string())));
        }
        for (from, to) in self.drawn_edges() {
            text.push_str(&format!("  {} -> {};\n", quote(&from.to_string()), quote(&to.to_string())));
        }
        text.push_str("}\n");
        text
    }

    /// Mermaid text.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let ids: BTreeMap<&Address, usize> = self.nodes.keys().zip(0..).collect();
        // Mermaid reads labels as HTML.
        let quote =
            |text: &str| text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;");
        let mut text = "flowchart RL\n".to_owned();
        for (address, verb) in &self.nodes {
            let id = ids[address];
            text.push_str(&format!("  n{id}[\"{}\"]\n", quote(&address.to_string())));
            if let Some(colour) = verb.and_then(colour) {
                text.push_str(&format!("  style n{id} stroke:{colour}\n"));
            }
        }
        for (from, to) in self.drawn_edges() {
            text.push_str(&format!("  n{} --> n{}\n", ids[from], ids[to]));
        }
        text
    }

    /// The arrows between resources that are drawn; what is not in the graph is not pointed at.
    fn drawn_edges(&self) -> impl Iterator<Item = (&Address, &Address)> {
        self.edges.iter().filter(|(_, to)| self.nodes.contains_key(to)).map(|(from, to)| (from, to))
    }
}

fn colour(verb: Verb) -> Option<&'static str> {
    match verb {
        Verb::Create => Some("green"),
        Verb::Update => Some("orange"),
        Verb::Replace => Some("magenta"),
        Verb::Delete => Some("red"),
        Verb::Adopt | Verb::Await | Verb::Record | Verb::Release | Verb::Forget => Some("blue"),
        Verb::Hold => Some("gray"),
        Verb::Keep => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Reason;
    use crate::ui::plan::tests::{action, plan};

    fn graph() -> Graph {
        let mut server = action("servers.n[\"1\"]", "server", Verb::Create, vec![Reason::New]);
        server.needs = vec!["leases.block".parse().unwrap(), "servers.n[\"1\"]/port[a]".parse().unwrap()];
        let mut port = action("servers.n[\"1\"]/port[a]", "port", Verb::Create, vec![Reason::New]);
        port.needs = vec!["security_groups.ssh".parse().unwrap(), "networks.gone".parse().unwrap()];
        let group = action("security_groups.ssh", "security_group", Verb::Keep, vec![]);
        let lease = action("leases.block", "lease", Verb::Keep, vec![]);
        Graph::of_plan(&plan([server, port, group, lease]))
    }

    #[test]
    fn parts_stand_with_their_owner() {
        insta::assert_snapshot!(graph().dot(), @r#"
        digraph anole {
          rankdir = "RL";
          node [shape = box, style = rounded];
          "leases.block";
          "security_groups.ssh";
          "servers.n[\"1\"]" [color = green];
          "servers.n[\"1\"]" -> "leases.block";
          "servers.n[\"1\"]" -> "security_groups.ssh";
        }
        "#);
        insta::assert_snapshot!(graph().mermaid(), @r#"
        flowchart RL
          n0["leases.block"]
          n1["security_groups.ssh"]
          n2["servers.n[&quot;1&quot;]"]
          style n2 stroke:green
          n2 --> n0
          n2 --> n1
        "#);
    }
}

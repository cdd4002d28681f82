//! Why there is no plan: all reasons, each with its resource, a stable code and what to do.
//!
//! In: the planner's errors. Out: text, ended by a line end. Pure.

use crate::plan::PlanError;

use super::style::{Styles, paint, printable};

/// The text.
#[must_use]
pub fn render_problems(problems: &[PlanError], styles: &Styles) -> String {
    let mut text = String::new();
    for problem in problems {
        let label = paint(styles.alarm, format!("error[{}]:", problem.code));
        let about = match (&problem.address, &problem.field) {
            (Some(address), Some(field)) => format!("{address}, {field}: "),
            (Some(address), None) => format!("{address}: "),
            (None, _) => String::new(),
        };
        let body = format!("{about}{}", problem.message.trim_end()).replace('\n', "\n  ");
        text.push_str(&format!("{label} {}\n", printable(&body)));
        if let Some(help) = &problem.help {
            text.push_str(&format!("  {} {}\n", paint(styles.hint, "help:"), printable(help)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_names_its_resource_and_what_to_do() {
        let problems = [
            PlanError {
                code: "refused-change",
                address: Some("volumes.data".parse().unwrap()),
                field: Some("size".to_owned()),
                message: "a volume cannot shrink from 4 GiB to 2 GiB".to_owned(),
                help: Some("make a new volume and copy the data".to_owned()),
            },
            PlanError { code: "x", address: None, field: None, message: "two\nlines".to_owned(), help: None },
        ];
        assert_eq!(
            render_problems(&problems, &Styles::plain()),
            "error[refused-change]: volumes.data, size: a volume cannot shrink from 4 GiB to 2 GiB\n  \
             help: make a new volume and copy the data\nerror[x]: two\n  lines\n"
        );
    }
}

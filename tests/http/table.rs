//! No row of the error table without a test through the socket, or the reason why there is none.

use quorate::wire::Code;

/// The tests that provoke a code.
const SOURCES: [&str; 6] = [
    include_str!("calls.rs"),
    include_str!("contract_claim.rs"),
    include_str!("errors.rs"),
    include_str!("hostile.rs"),
    include_str!("queues.rs"),
    include_str!("unavailable.rs"),
];

/// Whether a client can be answered with a row today.
enum Row {
    /// This test is.
    Met(&'static str),
    /// Nobody is, because of this.
    Unreachable(&'static str),
}

/// Every code's row; a new code does not compile without one.
fn row(code: Code) -> Row {
    use Row::{Met, Unreachable};
    match code {
        Code::InvalidJson => Met("what_does_not_parse_is_invalid_json"),
        Code::InvalidArgument => Met("a_bad_field_is_named"),
        Code::Unauthorized => Unreachable("there are no tokens to be wrong yet"),
        Code::Forbidden => Met("pages_of_other_sites_are_forbidden"),
        Code::NotFound => Met("an_unknown_job_is_not_found"),
        Code::MethodNotAllowed => Met("unknown_paths_and_wrong_verbs_are_errors_of_the_table"),
        Code::StaleToken => Met("a_spent_token_is_told_how_it_ended_and_who_holds_the_job_now"),
        Code::StaleSession => Met("a_later_session_of_a_worker_ends_the_earlier_one"),
        Code::WrongState => Met("a_completed_job_cannot_be_cancelled"),
        Code::IdConflict => Met("adding_again_answers_200_and_duplicate"),
        Code::DependencyCycle => Met("a_circle_of_dependencies_is_refused"),
        Code::PayloadTooLarge => Met("what_is_too_large_says_how_large_it_may_be"),
        Code::QueueFull => Met("an_add_to_a_full_queue_is_refused_until_there_is_room"),
        Code::RateLimited | Code::OutcomeUnknown => {
            Met("an_add_whose_disk_hangs_has_an_unknown_outcome_and_may_be_repeated")
        }
        Code::TooManyWaiters => Met("a_claim_too_many_is_told_so_and_the_waiting_one_stays"),
        Code::NoLeader => Met("a_request_is_held_without_a_leader_and_then_certainly_not_applied"),
        Code::NotReady => Met("a_node_in_no_cluster_is_not_ready"),
        Code::ShuttingDown => Met("a_stopped_node_says_that_it_is_shutting_down"),
        Code::DiskFull => Met("a_nearly_full_disk_refuses_adds_and_nothing_else"),
    }
}

/// The text of that test, to its closing brace.
fn body(name: &str) -> Option<&'static str> {
    let head = format!("#[tokio::test(flavor = \"multi_thread\")]\nasync fn {name}() {{");
    let from_head = |source: &&'static str| source.find(&head).map(|at| &source[at..]);
    let rest = SOURCES.iter().find_map(from_head)?;
    rest.find("\n}\n").map(|end| &rest[..end])
}

#[test]
fn each_row_of_the_error_table_has_a_test_through_the_socket() {
    for &code in Code::ALL {
        match row(code) {
            Row::Met(name) => {
                let body = body(name).unwrap_or_else(|| panic!("there is no test {name}"));
                // `reply.failed(404, "not_found")`, or a check that ends the same way.
                let row = format!("{}, \"{code}\")", code.http_status());
                assert!(body.contains(&row), "{name} does not check for {row}");
            }
            Row::Unreachable(reason) => {
                let literal = format!("\"{code}\"");
                let is_met = SOURCES.iter().any(|source| source.contains(&literal));
                assert!(!is_met, "a test meets {code}, though: {reason}");
            }
        }
    }
}

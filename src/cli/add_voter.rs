//! `queue add-voter`: make a node a voter, once it has caught up; prints `added`.

use clap::Args;

use super::{
    Exit, Failure,
    change_voters::{WaitArg, change},
    session::Session,
};

const NOTES: &str = "\
The node runs already, with an empty data directory and `--join`, or was a voter before. Run it on the
machine of a voter. The same command again goes on, or finds it done.";

/// Make a node a voter, once it has caught up; prints `added`.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(super) struct AddVoterArgs {
    /// The node's name.
    #[arg(value_name = "NODE")]
    node: String,
    /// Where it listens for its peers.
    #[arg(long, value_name = "HOST:PORT")]
    peer_addr: String,
    #[command(flatten)]
    wait: WaitArg,
}

impl AddVoterArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let ask =
            async |client: &crate::client::Client, request: &_| client.add_voter(request).await;
        change(session, self.node, Some(self.peer_addr), &self.wait, ask).await
    }
}

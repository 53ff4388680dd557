//! `queue replace-voter`: give a dead voter's place to a fresh directory; prints `replaced`.

use clap::Args;

use super::{
    Exit, Failure,
    change_voters::{WaitArg, change},
    session::Session,
};

const NOTES: &str = "\
For a voter whose directory is lost: start a node of its name with an empty directory and `--join`,
then run this on the machine of a living voter.";

/// Give a dead voter's place to a fresh directory; prints `replaced`.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(super) struct ReplaceVoterArgs {
    /// The node's name.
    #[arg(value_name = "NODE")]
    node: String,
    /// Where the new one listens for its peers [default: where the dead one did].
    #[arg(long, value_name = "HOST:PORT")]
    peer_addr: Option<String>,
    #[command(flatten)]
    wait: WaitArg,
}

impl ReplaceVoterArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let ask =
            async |client: &crate::client::Client, request: &_| client.replace_voter(request).await;
        change(session, self.node, self.peer_addr, &self.wait, ask).await
    }
}

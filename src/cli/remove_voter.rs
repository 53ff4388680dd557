//! `queue remove-voter`: take a voter's vote; prints `removed`.

use clap::Args;

use super::{
    Exit, Failure,
    change_voters::{WaitArg, change},
    session::Session,
};

const NOTES: &str = "\
A leader hands over first. What would leave no quorum is refused. Stop the node after it; its
directory never votes again unless `add-voter` takes it in.";

/// Take a voter's vote; prints `removed`.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(super) struct RemoveVoterArgs {
    /// The node's name.
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    wait: WaitArg,
}

impl RemoveVoterArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let ask =
            async |client: &crate::client::Client, request: &_| client.remove_voter(request).await;
        change(session, self.node, None, &self.wait, ask).await
    }
}

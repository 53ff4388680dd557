//! The calls about voters and the leader.

use super::{Answer, Client, ClientError};
use crate::wire::{TransferRequest, TransferResponse, VoterRequest, VoterResponse};

impl Client {
    /// Makes a node a voter, or says how far that is.
    pub async fn add_voter(
        &self,
        request: &VoterRequest,
    ) -> Result<Answer<VoterResponse>, ClientError> {
        self.post("/cluster/add", request).await
    }

    /// Takes a voter's vote.
    pub async fn remove_voter(
        &self,
        request: &VoterRequest,
    ) -> Result<Answer<VoterResponse>, ClientError> {
        self.post("/cluster/remove", request).await
    }

    /// Gives a dead voter's place to a fresh directory, or says how far that is.
    pub async fn replace_voter(
        &self,
        request: &VoterRequest,
    ) -> Result<Answer<VoterResponse>, ClientError> {
        self.post("/cluster/replace", request).await
    }

    /// Has the leader hand over to this voter.
    pub async fn transfer(
        &self,
        request: &TransferRequest,
    ) -> Result<Answer<TransferResponse>, ClientError> {
        self.post("/election/transfer", request).await
    }
}

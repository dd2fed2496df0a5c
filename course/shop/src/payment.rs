//! Money. An order's money is held first, then captured, or the hold is cancelled; every movement is two rows of a
//! ledger that sum to nothing.
//!
//! A hold checks and sets aside in one transaction, so two orders cannot both pass with the same money. Cancelling what
//! is not known leaves a tombstone: a hold that was on its way comes too late then, and stays nowhere.

mod ledger;

use service::Shutdown;
use tonic::{Request, Response, Status, service::Routes};

use crate::{
    calls::traced,
    check,
    config::Config,
    faults::Faults,
    grpc, money, outbox,
    pb::{
        Account, Charges, GetAccountRequest, HoldRequest, OrderId, Payment, TopUpRequest,
        payments_server::{Payments, PaymentsServer},
    },
    refusal::Refusal,
    store::{Store, Tx},
};

/// Serves until `shutdown`.
///
/// # Errors
/// If the store or the port cannot be opened.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let store = Store::open(&config.shop_data_dir, "payment", &[outbox::SCHEMA, ledger::SCHEMA])?;
    let faults = Faults::default();
    let own = PaymentsServer::new(Bank { store: store.clone(), faults: faults.clone() })
        .max_decoding_message_size(grpc::MESSAGE_BYTES);
    grpc::serve(&config, store, Routes::new(own), ledger::figures, faults, shutdown).await
}

struct Bank {
    store: Store,
    faults: Faults,
}

impl Bank {
    async fn hold(&self, request: HoldRequest) -> Result<Payment, Refusal> {
        let order = check::id(&request.order_id, "order_id")?.to_string();
        let user = check::id(&request.user_id, "user_id")?.to_string();
        let minor = money::minor(request.amount.as_ref(), "amount")?;
        let declines = self.faults.refuses();
        self.store.write(move |tx| ledger::hold(tx, order, user, minor, declines)).await
    }

    async fn change(
        &self,
        request: OrderId,
        change: fn(&Tx<'_>, String) -> Result<Payment, Refusal>,
    ) -> Result<Payment, Refusal> {
        let order = check::id(&request.order_id, "order_id")?.to_string();
        self.store.write(move |tx| change(tx, order)).await
    }

    async fn top_up(&self, request: TopUpRequest) -> Result<Account, Refusal> {
        let top_up = check::id(&request.top_up_id, "top_up_id")?.to_string();
        let user = check::id(&request.user_id, "user_id")?.to_string();
        let minor = money::minor(request.amount.as_ref(), "amount")?;
        self.store.write(move |tx| ledger::pay_in(tx, top_up, user, minor)).await
    }

    async fn account(&self, request: GetAccountRequest) -> Result<Account, Refusal> {
        let user = check::id(&request.user_id, "user_id")?.to_string();
        self.store.read(move |connection| ledger::account(connection, user)).await
    }

    async fn charges(&self, request: OrderId) -> Result<Charges, Refusal> {
        let order = check::id(&request.order_id, "order_id")?.to_string();
        self.store.read(move |connection| ledger::charges(connection, order)).await
    }
}

#[tonic::async_trait]
impl Payments for Bank {
    async fn hold(&self, request: Request<HoldRequest>) -> Result<Response<Payment>, Status> {
        let hold = |request| self.faults.around(Bank::hold(self, request));
        traced("shop.v1.Payments/Hold", request, hold).await
    }

    async fn capture(&self, request: Request<OrderId>) -> Result<Response<Payment>, Status> {
        let capture = |request| self.faults.around(self.change(request, ledger::capture));
        traced("shop.v1.Payments/Capture", request, capture).await
    }

    async fn cancel(&self, request: Request<OrderId>) -> Result<Response<Payment>, Status> {
        let cancel = |request| self.faults.around(self.change(request, ledger::cancel));
        traced("shop.v1.Payments/Cancel", request, cancel).await
    }

    async fn top_up(&self, request: Request<TopUpRequest>) -> Result<Response<Account>, Status> {
        traced("shop.v1.Payments/TopUp", request, |request| Bank::top_up(self, request)).await
    }

    async fn get_account(&self, request: Request<GetAccountRequest>) -> Result<Response<Account>, Status> {
        traced("shop.v1.Payments/GetAccount", request, |request| self.account(request)).await
    }

    async fn get_charges(&self, request: Request<OrderId>) -> Result<Response<Charges>, Status> {
        traced("shop.v1.Payments/GetCharges", request, |request| self.charges(request)).await
    }
}

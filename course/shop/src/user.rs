//! Users: who they are. A registration with an id that is known is the same user.

use rusqlite::{Connection, OptionalExtension, params};
use service::Shutdown;
use tonic::{Request, Response, Status, service::Routes};

use crate::{
    calls::traced,
    check,
    config::Config,
    faults::Faults,
    grpc,
    outbox::{self, Change},
    pb::{
        GetUserRequest, RegisterRequest, User,
        users_server::{Users, UsersServer},
    },
    refusal::Refusal,
    store::{Store, Tx},
};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS user (user_id TEXT PRIMARY KEY, name TEXT NOT NULL) STRICT;
";

/// Serves until `shutdown`.
///
/// # Errors
/// If the store or the port cannot be opened.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let store = Store::open(&config.shop_data_dir, "user", &[outbox::SCHEMA, SCHEMA])?;
    let own =
        UsersServer::new(Registry { store: store.clone() }).max_decoding_message_size(grpc::MESSAGE_BYTES);
    grpc::serve(&config, store, Routes::new(own), |_| Ok(Vec::new()), Faults::default(), shutdown).await
}

struct Registry {
    store: Store,
}

impl Registry {
    async fn register(&self, request: RegisterRequest) -> Result<User, Refusal> {
        let user_id = check::id(&request.user_id, "user_id")?.to_string();
        let name = check::text(request.name, check::USER_NAME_BYTES, "name")?;
        let register = move |tx: &Tx<'_>| {
            match known(tx, &user_id)? {
                Some(user) if user.name == name => return Ok(user),
                Some(_) => return Err(Refusal::Conflict("this user_id is registered with another name")),
                None => {}
            }
            tx.execute("INSERT INTO user VALUES (?1, ?2)", params![user_id, name])?;
            let change = Change {
                service: "user",
                key: &user_id,
                user: Some(&user_id),
                state: "registered",
                ..Change::default()
            };
            outbox::record(tx, &change)?;
            Ok(User { user_id, name })
        };
        self.store.write(register).await
    }

    async fn get(&self, request: GetUserRequest) -> Result<User, Refusal> {
        let user_id = check::id(&request.user_id, "user_id")?.to_string();
        let found = self.store.read(move |connection| known(connection, &user_id)).await?;
        found.ok_or(Refusal::NotFound("no user has this id: register first"))
    }
}

fn known(connection: &Connection, user_id: &str) -> Result<Option<User>, Refusal> {
    let name = connection.query_row("SELECT name FROM user WHERE user_id = ?1", [user_id], |row| row.get(0));
    Ok(name.optional()?.map(|name| User { user_id: user_id.to_owned(), name }))
}

#[tonic::async_trait]
impl Users for Registry {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<User>, Status> {
        traced("shop.v1.Users/Register", request, |request| Registry::register(self, request)).await
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<User>, Status> {
        traced("shop.v1.Users/GetUser", request, |request| self.get(request)).await
    }
}

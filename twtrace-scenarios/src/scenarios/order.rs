//! Owns: scenarios about who closes first.
//! Must not know: the harness.

use anyhow::Result;

use crate::actor::close_in_order;
use crate::expect::{Pattern, TIMEWAIT_MS, Want, either_substate};
use crate::world::World;

/// 13 connections: the client sends 101 bytes, gets 211, and closes first.
pub(super) fn client_closes_first(world: &mut World) -> Result<()> {
    let (client, listener) = world.cast()?;
    for _ in 0..13 {
        let pair = world.pair(&client, &listener)?;
        pair.exchange(101, 211)?;
        close_in_order(&pair.client, &pair.server)?;
        let created = Pattern::about("created", &pair.client).owner(&client, "close").opener(&client);
        let created = created.is("role", "client").is("timeout_ms", TIMEWAIT_MS).bytes(101, 211);
        world.expect(created.want("age_ms", Want::Present).want("substate", either_substate()));
    }
    Ok(())
}

/// 17 connections: the server closes first, in another process than the one that accepted.
pub(super) fn server_closes_first(world: &mut World) -> Result<()> {
    let (client, listener) = world.cast()?;
    let acceptor = listener.actor.clone();
    for _ in 0..17 {
        let pair = world.pair(&client, &listener)?;
        pair.exchange(101, 211)?;
        close_in_order(&pair.server, &pair.client)?;
        let created = Pattern::about("created", &pair.server).owner(&acceptor, "close").opener(&acceptor);
        let created = created.is("role", "server").is("timeout_ms", TIMEWAIT_MS).bytes(211, 101);
        world.expect(created.want("age_ms", Want::Present).want("substate", either_substate()));
    }
    Ok(())
}

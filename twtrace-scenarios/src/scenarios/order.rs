//! Owns: scenarios about who closes first.
//! Must not know: the harness.

use anyhow::Result;

use super::packets::Wire;
use super::{by_client, by_server};
use crate::actor::close_in_order;
use crate::books::{CLOSING, FIN_WAIT1, TIME_WAIT};
use crate::expect::Want;
use crate::op::Half;
use crate::world::World;

/// The client sends 101 bytes, gets 211, and closes first.
pub(super) fn client_closes_first(world: &mut World) -> Result<()> {
    let (client, listener) = world.cast()?;
    for _ in 0..13 {
        let pair = world.pair(&client, &listener)?;
        pair.exchange(101, 211)?;
        close_in_order(&pair.client, &pair.server)?;
        let created = by_client(&pair.client, &client, "close").opener(&client);
        world.expect(created.bytes(101, 211).want("age_ms", Want::Present));
    }
    Ok(())
}

/// The same, but the server closes first.
pub(super) fn server_closes_first(world: &mut World) -> Result<()> {
    let (client, listener) = world.cast()?;
    let server = listener.actor.clone();
    for _ in 0..17 {
        let pair = world.pair(&client, &listener)?;
        pair.exchange(101, 211)?;
        close_in_order(&pair.server, &pair.client)?;
        let created = by_server(&pair.server, &server, "close").opener(&server);
        world.expect(created.bytes(211, 101).want("age_ms", Want::Present));
    }
    Ok(())
}

/// Both FINs cross: both ends get a TIME_WAIT socket, by way of CLOSING. Each end drops what comes in until both have
/// sent their FIN; then the very FINs that were dropped are played to them again.
pub(super) fn simultaneous_close(world: &mut World) -> Result<()> {
    let (client, listener) = world.cast()?;
    let server = listener.actor.clone();
    let wire = Wire::open()?;
    for _ in 0..3 {
        let pair = world.pair(&client, &listener)?;
        pair.exchange(101, 211)?;
        for end in [&pair.client, &pair.server] {
            end.drop_incoming(true)?;
        }
        for end in [&pair.client, &pair.server] {
            end.shutdown(Half::Write)?;
            world.wait_state(end, FIN_WAIT1, false)?;
        }
        let from_server = wire.last_fin(&pair.server)?;
        let from_client = wire.last_fin(&pair.client)?;
        pair.client.drop_incoming(false)?;
        wire.send(&from_server)?;
        world.wait_state(&pair.client, CLOSING, false)?;
        pair.server.drop_incoming(false)?;
        wire.send(&from_client)?;
        for end in [&pair.client, &pair.server] {
            world.wait_state(end, TIME_WAIT, true)?;
            end.close()?;
        }
        let at_client = by_client(&pair.client, &client, "shutdown").opener(&client);
        world.expect(at_client.bytes(101, 211).is("substate", "TIME_WAIT"));
        let at_server = by_server(&pair.server, &server, "shutdown").opener(&server);
        world.expect(at_server.bytes(211, 101).is("substate", "TIME_WAIT"));
    }
    Ok(())
}

//! Somebody who speaks to the server as no client of ours would.

use std::time::Duration;

use bytes::Bytes;
use leptos_sync_protocol::{CloseCode, Hello, Message, decode_frame, encode_frame};
use leptos_sync_transport::{FrameReceiver as _, FrameSender as _, Transport as _};

use crate::net::{OVERHEARD_MAX, SimTransport};
use crate::rng::Rng;
use crate::world::{Violation, World};

/// Who they say they are.
pub(crate) const STRANGER: &str = "stranger";

/// Connects, says hello, and sends what it overheard: as it was, cut short, or damaged. Returns
/// whether the server could be reached.
pub(crate) async fn act(world: &mut World, kind: u64, choice: u64) -> bool {
    let mut rng = Rng::new(choice);
    let net = world.net.clone();
    // A machine of its own, beside the devices.
    let transport = SimTransport { net, device: usize::MAX, newest: std::rc::Rc::default() };
    let Ok((sender, mut receiver)) = transport.connect().await else { return false };
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
        client_id: rng.next_u64(),
        token: Some(STRANGER.to_owned()),
        wall_ms: rng.next_u64() >> 20,
    };
    let mut frames = vec![encode_frame(&Message::Hello(hello))];
    // One client's words, so that a channel means the document that it meant there: whoever may
    // write could put one document's changes into another one, and nobody could object.
    let mut overheard = world.net.overheard(rng.index(OVERHEARD_MAX));
    overheard.retain(|_| rng.one_in(2));
    overheard.truncate(4);
    for frame in overheard {
        frames.push(mutate(frame, kind, &mut rng));
    }
    if kind % 4 == 3 {
        frames.push(mutate(Bytes::new(), kind, &mut rng));
    }
    for frame in frames {
        // The server may have closed the connection already.
        let _ = sender.send(frame);
        let answer = tokio::time::timeout(Duration::from_millis(rng.below(30)), receiver.recv());
        let _ = answer.await;
    }
    true
}

/// Says hello as a client that speaks the versions from `min` to `max`: whoever speaks version 1,
/// too, is welcome in that, and everybody else is refused by the name of the reason. Returns
/// whether there was an answer.
pub(crate) async fn greet(world: &World, min: u32, max: u32) -> Result<bool, Violation> {
    let net = world.net.clone();
    let transport = SimTransport { net, device: usize::MAX, newest: std::rc::Rc::default() };
    let Ok((sender, mut receiver)) = transport.connect().await else { return Ok(false) };
    let hello = Hello {
        version_min: min,
        version_max: max,
        features: 0,
        client_id: 1,
        token: Some(STRANGER.to_owned()),
        wall_ms: 0,
    };
    // What happens to the connection is the network's business; an answer is the server's.
    let _ = sender.send(encode_frame(&Message::Hello(hello)));
    let answer = tokio::time::timeout(Duration::from_millis(100), receiver.recv()).await;
    let Ok(Ok(frame)) = answer else { return Ok(false) };
    let answer = decode_frame(&frame).map_err(|error| format!("a malformed answer: {error}"))?;
    let refusal = CloseCode::UnsupportedVersion.as_u16();
    match answer.first() {
        Some(Message::Welcome(welcome)) if min <= 1 && welcome.version == 1 => Ok(true),
        Some(Message::GoAway(away)) if min > 1 && away.code == refusal => Ok(true),
        // A server that stops says so to everybody.
        Some(Message::GoAway(away)) if away.code != refusal => Ok(true),
        other => Err(format!("a client of versions {min} to {max} was answered {other:?}")),
    }
}

fn mutate(frame: Bytes, kind: u64, rng: &mut Rng) -> Bytes {
    let mut bytes = frame.to_vec();
    match kind % 4 {
        0 => {}
        1 => bytes.truncate(rng.index(bytes.len() + 1)),
        2 => {
            for _ in 0..1 + rng.below(4) {
                let at = rng.index(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << rng.below(8);
                }
            }
        }
        _ => bytes = (0..rng.below(200)).map(|_| rng.next_u64() as u8).collect(),
    }
    Bytes::from(bytes)
}

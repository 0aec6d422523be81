//! Namespaces that are replaced between one question and the next.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::model::event::Conn;

/// What is said by somebody who took the own namespace for one with another cookie, where the kernel has those.
async fn said(
    differs: bool,
    ask: impl FnOnce(&mut Thread<'_>, &Netns) -> Result<(), Closed> + Send + 'static,
) -> Vec<Reply> {
    let own = Netns::own().unwrap();
    let Some(cookie) = cookie_here() else { return Vec::new() };
    let same = Same::expecting(own.inode, cookie + u64::from(differs));
    let mut worker = Worker::start("replaced", move |requests, replies| {
        let _ = ask(&mut Thread::new(requests, replies, same), &own);
        // Until here.
        replies.send(Reply::Books { books: Ok(Vec::new()) });
        requests.next();
    })
    .unwrap();
    let mut all = Vec::new();
    loop {
        match worker.reply().await.unwrap() {
            Reply::Books { .. } => return all,
            reply => all.push(reply),
        }
    }
}

fn has_left(reply: &Reply) -> bool {
    matches!(reply, Reply::Changed { changed, .. } if changed.len() == 1 && changed[0].became == Became::Left)
}

#[tokio::test]
async fn what_lives_in_the_next_one_with_the_inode_is_not_listed() {
    if cookie_here().is_none() {
        return;
    }
    let list = |thread: &mut Thread<'_>, own: &Netns| thread.dump(own, &mut Listing::new());
    assert!(matches!(said(false, list).await[..], [Reply::Namespaces { .. }]));
    let all = said(true, list).await;
    assert!(all.len() == 1 && has_left(&all[0]), "{all:?}");
}

#[tokio::test]
async fn sockets_went_with_their_namespace_though_the_next_one_has_the_like() {
    if cookie_here().is_none() {
        return;
    }
    let ask = |thread: &mut Thread<'_>, own: &Netns| {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let conn = Conn { netns: own.inode, ifindex: 0, saddr: here, daddr: here, sport: 1, dport: 1 };
        thread.answer(Request::LookUp { sockets: vec![(conn, None)] })
    };
    assert!(matches!(said(false, ask).await[..], [Reply::LookedUp { .. }]));
    let all = said(true, ask).await;
    assert!(has_left(&all[0]), "{all:?}");
    assert!(
        matches!(&all[1..], [Reply::LookedUp { found, .. }] if matches!(found[..], [(_, SocketFate::Gone)])),
        "{all:?}"
    );
}

#[test]
fn all_processes_are_looked_at_for_a_way_that_has_ended_or_is_not_known_and_for_no_other() {
    let netns = |inode: u32| Netns { inode, name: None, path: "/proc/17/ns/net".into() };
    let path = || "/proc/17/ns/net".into();
    let io = || std::io::Error::from_raw_os_error(libc::EAGAIN);
    let books = vec![
        (3, Err(net::Error::NoPermission { inode: 3, path: path() })),
        (4, Err(net::Error::Gone { inode: 4, path: path() })),
        (5, Err(net::Error::Io { what: "reading".to_owned(), source: io() })),
    ];
    let ways = [netns(3), netns(4), netns(5)];
    let same = Same::expecting(7, 13);
    assert_eq!(lacking(&[3, 4, 5, 6, 7], &ways, &books, &same), [4, 7]);
    // No thread could be started: nothing is known of any.
    assert_eq!(lacking(&[3, 4, 5], &ways, &Vec::new(), &same), [0; 0]);
    let same = Same::expecting(5, 13);
    assert_eq!(lacking(&[5], &ways, &Vec::new(), &same), [0; 0]);
}

#[tokio::test]
async fn one_that_no_way_leads_to_any_more_is_gone() {
    let mut worker = Worker::start("gone", |requests, replies| {
        // No namespace has this inode.
        let mut thread = Thread::new(requests, replies, Same::expecting(1, 13));
        // Its way leads nowhere.
        thread.ways.set(&[Netns { inode: 1, name: None, path: "/nowhere".into() }]);
        for _ in 0..ABSENT_TIMES {
            let _ = thread.answer(Request::Check { netns: vec![1] });
        }
        requests.next();
    })
    .unwrap();
    let mut replies = Vec::new();
    while !replies.last().is_some_and(has_left) {
        assert!(replies.len() < 3, "{replies:?}");
        replies.push(worker.reply().await.unwrap());
    }
    assert!(matches!(&replies[..], [Reply::Checked { books, .. }, _] if books.is_empty()), "{replies:?}");
}

//! Lines of JSON say what events say.

use super::*;
use crate::model::event::Comm;
use crate::model::identity::Naming;

#[test]
fn every_address_is_written_as_it_is_called() {
    let octets = (0..=u8::MAX).map(|octet| IpAddr::from([octet, 255 - octet, octet / 2, octet ^ 0x55]));
    let others = ["::", "::ffff:192.0.2.1", "2001:db8::7"].map(|address| address.parse().unwrap());
    for address in octets.chain(others) {
        let mut out = Vec::new();
        Object { out: &mut out }.address(key!("saddr"), address);
        assert_eq!(String::from_utf8(out).unwrap(), format!(",\"saddr\":\"{address}\""));
    }
}

#[test]
fn what_was_written_before_changes_no_line() {
    let clock = Clock { mono_ns: 0, wall_ns: 0 };
    let naming = Naming::default();
    let mut events = Vec::new();
    for at in 0..29_u32 {
        let mut event = Event::new(Kind::Created, at.into(), None);
        let (pid, comm) = (7 + at % 3, Comm::new(["a\"", "b", "c"][at as usize % 3]));
        event.owner = (at % 7 != 0).then_some(Process {
            pid,
            tid: pid + at % 2,
            uid: 0,
            cgroup_id: 1,
            start_ns: 1,
            comm,
        });
        event.via = Some([Via::Close, Via::Exit][at as usize % 2]);
        event.opener = (at % 5 != 0).then_some(Opener { pid, start_ns: 1, comm });
        let exe = Some(format!("/bin/{pid}"));
        event.identity = Some(Arc::new(Identity { exe, names: naming.clone(), ..Identity::default() }))
            .filter(|_| at % 4 != 0);
        // Two in a row of the same, and one that is named in between.
        events.extend([event.clone(), event]);
    }
    let mut all = Json::new(clock);
    let line = |json: &mut Json, event: &Event| {
        let mut out = BytesMut::new();
        json.line(event, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    };
    for (at, event) in events.iter().enumerate() {
        if at == 31 {
            naming.set(Names { name: Some("web".to_owned()), ..Names::default() });
        }
        assert_eq!(line(&mut all, event), line(&mut Json::new(clock), event));
    }
    let named = events.iter().rfind(|event| event.identity.is_some()).unwrap();
    let line = line(&mut all, named);
    assert!(line.contains("\"container_name\":\"web\""), "{line}");
}

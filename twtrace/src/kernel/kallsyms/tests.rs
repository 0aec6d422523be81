//! Owns: what is read out of a list of symbols, and that asking gives the same.

use super::*;

fn find(text: &str) -> Result<Symbols, KallsymsError> {
    symbols(text.as_bytes())
}

fn range(start: u64, end: u64) -> Text {
    Text { start, end }
}

#[test]
fn every_function_goes_to_its_own_field() {
    let text = "01 t tw_timer_handler\n02 T inet_twsk_deschedule_put\n03 T inet_twsk_purge\n\
                04 T tcp_timewait_state_process\n05 T tcp_abort\n06 T tcp_v4_rcv\n07 t tcp_v6_rcv\n\
                08 T inet_hash_connect\n";
    let expected = Symbols {
        tw_timer_handler: range(1, 2),
        inet_twsk_deschedule_put: range(2, 3),
        inet_twsk_purge: range(3, 4),
        tcp_timewait_state_process: range(4, 5),
        tcp_abort: range(5, 6),
        tcp_v4_rcv: range(6, 7),
        tcp_v6_rcv: range(7, 8),
    };
    assert_eq!(find(text).expect("fine"), expected);
}

#[test]
fn a_range_ends_at_the_next_text_wherever_that_is_listed() {
    let found = find(
        "ffffffff81000300 T far\n\
         ffffffff81000100 T tcp_v4_rcv\n\
         ffffffff81000100 W alias_at_the_same_address\n\
         ffffffff81000180 d data_does_not_count\n\
         ffffffffc0000000 t tcp_v6_rcv\t[ipv6]\n\
         ffffffff81000200 w weak_does\n\
         ffffffffc0000040 t other\t[ipv6]\n",
    )
    .expect("fine");
    assert_eq!(found.tcp_v4_rcv, range(0xffff_ffff_8100_0100, 0xffff_ffff_8100_0200));
    assert_eq!(found.tcp_v6_rcv, range(0xffff_ffff_c000_0000, 0xffff_ffff_c000_0040));
    assert_eq!(found.tcp_abort, Text::default());
}

#[test]
fn whole_bodies_stand_in_and_pieces_do_not() {
    let found = find(
        "10 t tw_timer_handler.isra.0\n20 t tcp_abort.cold\n30 t tcp_abort.part.0\n\
         40 t tcp_abort_override\n50 t tcp_v4_rcv.isra.0.constprop.13\n60 T inet_twsk_purge\n\
         70 t inet_twsk_purge.constprop.0\n80 t tcp_v6_rcv.llvm.1234567\n90 t my_tcp_abort\n\
         98 t inet_twsk_deschedule_put\n9c t inet_twsk_deschedule_put.isra.0\n\
         a0 t tcp_timewait_state_process.\nb0 t tcp_timewait_state_process.isra\n\
         c0 t tcp_timewait_state_process.isra.0.cold\n",
    )
    .expect("fine");
    let expected = Symbols {
        tw_timer_handler: range(0x10, 0x20),
        tcp_v4_rcv: range(0x50, 0x60),
        inet_twsk_purge: range(0x60, 0x70),
        inet_twsk_deschedule_put: range(0x98, 0x9c),
        tcp_v6_rcv: range(0x80, 0x90),
        ..Symbols::default()
    };
    assert_eq!(found, expected);
}

#[test]
fn of_namesakes_core_beats_module_and_global_beats_static() {
    let found = find(
        "10 t tcp_abort\n30 t tcp_abort\n20 T tcp_abort\n40 T tcp_abort\t[driver]\n\
         50 T tw_timer_handler\t[driver]\n60 t tw_timer_handler\n70 T end\n",
    )
    .expect("fine");
    assert_eq!(found.tcp_abort, range(0x20, 0x30));
    assert_eq!(found.tw_timer_handler, range(0x60, 0x70));
}

#[test]
fn equal_namesakes_are_reported() {
    let error = find("10 t tw_timer_handler\n20 t other\n30 t tw_timer_handler\n").expect_err("two");
    let expected = "several functions tw_timer_handler, at 0x10 and at 0x30";
    assert!(error.to_string().contains(expected), "{error}");
    // The same line twice is one function.
    assert!(find("10 t tw_timer_handler\n10 t tw_timer_handler\n").is_ok());
}

#[test]
fn hidden_addresses_name_the_remedy() {
    let error = find("0000000000000000 T tcp_abort\n0000000000000000 t other\t[driver]\n").expect_err("0");
    assert!(matches!(error, KallsymsError::Hidden));
    let text = error.to_string();
    assert!(text.contains("CAP_SYSLOG") && text.contains("kernel.kptr_restrict"), "{text}");
}

#[test]
fn garbage_is_an_error_with_its_line() {
    for bad in
        ["", "10", "10 ", "10 T", "10 Tx y", " T name", "1g T name", "10000000000000000 T name", "\u{1b}[m"]
    {
        let error = find(&format!("10 T fine\n{bad}\n")).expect_err(bad);
        assert!(matches!(error, KallsymsError::Line { line: 2, .. }), "{bad}: {error}");
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
    }
    assert!(matches!(find(""), Err(KallsymsError::Empty)));
    assert!(matches!(find("10 D data\n"), Err(KallsymsError::Empty)));
}

/// Without privilege the kernel hides the addresses; nothing else may go wrong.
#[test]
fn the_running_kernel() {
    match listed() {
        Ok(found) => {
            let text = found.tcp_v4_rcv;
            assert!(text.start > 0 && text.end > text.start && text.end - text.start < 1 << 16, "{text:x?}");
            assert!(found.tw_timer_handler.start > 0, "{found:x?}");
            // It cannot be asked before 5.16, nor of a kernel without IPv6.
            assert!(asked().is_none_or(|asked| asked == found), "{:x?} and {found:x?}", asked());
        }
        Err(KallsymsError::Hidden) => assert_eq!(asked(), None),
        Err(error) => panic!("{error}"),
    }
}

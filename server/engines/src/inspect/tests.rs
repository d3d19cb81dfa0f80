use super::*;

fn read(json: &str) -> EngineContainer {
    let inspected: Inspected = serde_json::from_str(json).expect("lenient");
    let id = "ab".parse().expect("an id");
    inspected.read(EndpointId(0), Engine::Docker, id, None)
}

#[test]
fn whatever_is_missing_null_or_unknown_costs_itself_only() {
    for json in [
        "{}",
        r#"{"State":null,"Config":null,"HostConfig":{},"NetworkSettings":{"Ports":null,"Networks":{"a":null}},"Mounts":null}"#,
        r#"{"State":{"Status":"levitating"},"Later":[1,2]}"#,
    ] {
        assert_eq!(read(json).state, RunState::Unknown, "{json}");
    }
    let podmans = read(
        r#"{"Name":"a","State":{"Status":"stopped","ExitCode":3,"StartedAt":"2026-11-25T15:23:21.17+01:00"}}"#,
    );
    assert_eq!(podmans.state, RunState::Exited);
    assert_eq!((podmans.name.as_str(), podmans.exit_code), ("a", Some(3)));
}

#[test]
fn times_have_offsets_and_the_year_one_is_never() {
    assert_eq!(time(Some("0001-01-01T00:00:00Z")), None);
    assert_eq!(time(Some("")), None);
    assert_eq!(time(Some("yesterday")), None);
    let utc = time(Some("2026-11-25T15:23:21.173668172Z"));
    assert_eq!(
        utc.map(|t| t.to_string()),
        Some("2026-11-25T15:23:21.173Z".to_owned())
    );
    assert_eq!(time(Some("2026-11-25T16:53:21.173668172+01:30")), utc);
    assert_eq!(time(Some("2026-11-25T10:23:21.173668172-05:00")), utc);
}

#[test]
fn before_it_ever_ran_there_is_no_exit_code_and_a_failed_start_has_one() {
    let created =
        r#"{"State":{"Status":"created","ExitCode":0,"StartedAt":"0001-01-01T00:00:00Z"}}"#;
    assert_eq!(read(created).exit_code, None);
    let failed = r#"{"State":{"Status":"created","ExitCode":127,"Error":"no such file"}}"#;
    assert_eq!(read(failed).exit_code, Some(127));
    let running =
        r#"{"State":{"Status":"running","ExitCode":0,"Pid":7,"StartedAt":"2026-11-25T15:23:21Z"}}"#;
    assert_eq!(read(running).exit_code, None);
    assert_eq!(read(running).pid, Some(HostPid(7)));
}

#[test]
fn ports_are_published_bound_to_several_or_only_named() {
    let read = read(
        r#"{"Config":{"ExposedPorts":{"80/tcp":{},"53/udp":{},"x/tcp":{}}},
            "NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}],"53/udp":null}}}"#,
    );
    let shown: Vec<_> = read
        .ports
        .iter()
        .map(|p| {
            (
                p.container,
                p.protocol.as_str(),
                p.host.as_ref().map(|h| h.port),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (53, "udp", None),
            (80, "tcp", Some(8080)),
            (80, "tcp", Some(8080))
        ]
    );
}

#[test]
fn what_is_too_much_is_cut_and_told() {
    let many: Vec<String> = (0..100)
        .map(|n| format!("V{n}={}", "é".repeat(20_000)))
        .collect();
    let json = serde_json::json!({"Name": "/big", "Config": {"Env": many}});
    let read = read(&json.to_string());
    assert!(read.clipped);
    let message = serde_json::to_vec(&read).expect("json");
    assert!(message.len() < porthole_protocol::engines::MESSAGE_LIMIT);
    assert_eq!(read.name, "big", "what is small stays whole");
    let control = serde_json::json!({"Config": {"Env": vec!["\u{1}".repeat(16_000); 60]}});
    let control = self::read(&control.to_string());
    let message = serde_json::to_vec(&control).expect("json");
    assert!(message.len() < porthole_protocol::engines::MESSAGE_LIMIT);
}

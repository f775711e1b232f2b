/// `martlet mqtt pub|sub|rr`: help and examples. Not here: the flags (`MQTT…Options`) and what happens then (`MQTTRun`).
enum MQTTCommands {
    static let publish = Command(
        path: ["mqtt", "pub"],
        summary: "publish messages to an MQTT server",
        options: MQTTPublishOptions.options,
        examples: [
            ("martlet mqtt pub -t home/kitchen/temperature -m 21.5", "one message"),
            ("seq 1000 | martlet mqtt pub -t numbers -l -q 1", "a message a line, each acknowledged"),
            ("martlet mqtt pub -t home/door -m open -r -q 2", "once, and kept by the server"),
            ("martlet mqtt pub -L mqtt://meter:secret@broker.example:1883/meter/7 -f reading.bin", "a file, to another machine"),
        ],
        footnote: { MQTTConnectionOptions.footnote },
        run: { arguments throws(CommandFailure) in runPublish(try MQTTPublishOptions(arguments)) })

    static let subscribe = Command(
        path: ["mqtt", "sub"],
        summary: "print the messages of an MQTT server",
        options: MQTTSubscribeOptions.options,
        examples: [
            ("martlet mqtt sub -t 'home/+/temperature' -v", "all rooms, with their topics"),
            ("martlet mqtt sub -t 'home/#' -C 1 -W 5", "one message, or failure after five seconds"),
            ("martlet mqtt sub -t alarms -q 1 -c -i panel", "a session that keeps what comes while it is away"),
            ("martlet mqtt sub -t '#' -F '%I %t %l bytes: %p'", "with the time and the length"),
            ("martlet mqtt sub -t 'home/#' --remove-retained --retained-only -W 2", "have the server forget what it keeps below home"),
        ],
        footnote: { MQTTPrintOptions.footnote + MQTTConnectionOptions.footnote },
        run: { arguments throws(CommandFailure) in runSubscribe(try MQTTSubscribeOptions(arguments)) })

    static let request = Command(
        path: ["mqtt", "rr"],
        summary: "send a request by MQTT and print the answer (MQTT 5, or -V 311)",
        options: MQTTRequestOptions.options,
        examples: [
            ("martlet mqtt rr -t meters/7/commands -e answers/me -m status", "ask a meter, and wait for its answer"),
            ("martlet mqtt rr -t meters/7/commands -e answers/me -m status -W 3 -F %j", "at most three seconds, as JSON"),
        ],
        footnote: { MQTTPrintOptions.footnote + MQTTConnectionOptions.footnote },
        run: { arguments throws(CommandFailure) in runRequest(try MQTTRequestOptions(arguments)) })
}

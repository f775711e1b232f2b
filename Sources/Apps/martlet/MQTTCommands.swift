/// `martlet mqtt pub|sub`: help and examples. Not here: the flags (`MQTT…Options`) and what happens then (`MQTTRun`).
enum MQTTCommands {
    static let publish = Command(
        path: ["mqtt", "pub"],
        summary: "publish messages to an MQTT server",
        options: MQTTPublishOptions.options,
        examples: [
            ("martlet mqtt pub -t home/kitchen/temperature -m 21.5", "one message"),
            ("seq 1000 | martlet mqtt pub -t numbers -l -q 1", "a message a line, each acknowledged"),
            ("martlet mqtt pub -L mqtt://meter:secret@broker.example:1883/meter/7 -f reading.bin", "a file, to another machine"),
        ],
        run: { arguments throws(CommandFailure) in runPublish(try MQTTPublishOptions(arguments)) })

    static let subscribe = Command(
        path: ["mqtt", "sub"],
        summary: "print the messages of an MQTT server",
        options: MQTTSubscribeOptions.options,
        examples: [
            ("martlet mqtt sub -t 'home/+/temperature' -v", "all rooms, with their topics"),
            ("martlet mqtt sub -t 'home/#' -C 1 -W 5", "one message, or failure after five seconds"),
            ("martlet mqtt sub -t alarms -q 1 -c -i panel", "a session that keeps what comes while it is away"),
        ],
        run: { arguments throws(CommandFailure) in runSubscribe(try MQTTSubscribeOptions(arguments)) })
}

import MartletLogging

/// `martlet mqtt pub`. The exit code; the sentence about a failure is already on stderr.
func runPublish(_ options: MQTTPublishOptions) -> Int32 { withoutClient() }

/// `martlet mqtt sub`. The exit code; the sentence about a failure is already on stderr.
func runSubscribe(_ options: MQTTSubscribeOptions) -> Int32 { withoutClient() }

private func withoutClient() -> Int32 {
    StandardStream.error.write("martlet: mqtt: this build has no MQTT client yet\n")
    return ExitCode.failed
}

import MartletMQTTProtocol
import Testing

@testable import MartletMQTT

/// What a client does about a session that it does not have.
@MainActor @Suite(.timeLimit(.minutes(10))) struct MQTTSessionPresentTests {
    private let server = ScriptedServer()

    @Test(arguments: [MQTTVersion.v3_1_1, .v5])
    func `[MQTT-3.2.2-4] a session that was not asked for ends the connection`(_ version: MQTTVersion) async {
        server.connack = MQTTConnack(sessionPresent: true)
        var options = MQTTClientOptions()
        options.version = version
        options.reconnect.isEnabled = false
        let task = server.run(options) { _ in }
        guard case .failure(let error)? = await server.end(of: task),
            case .connectionLost(_, .violation(.malformed(.connackFlags)))? = error as? MQTTClientError
        else {
            Issue.record("the connection was kept")
            return
        }
        #expect(server.connections.count == 1)
    }
}

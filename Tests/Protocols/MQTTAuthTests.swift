import MartletBytes
import MartletMQTTProtocol
import Testing

/// Enhanced authentication (MQTT 5.0 section 4.12): who may say what when. What is received stands in `auth.vec`.
@Suite("MQTT machines: AUTH")
struct MQTTAuthTests {
    private func auth(_ reason: MQTTReason, method: String = "SCR", data: [UInt8]? = nil) -> MQTTAuth.Owned {
        MQTTAuth.Owned(reason: reason, method: Array(method.utf8), data: data)
    }

    private func server(_ state: String, _ message: MQTTServerOutgoing) throws -> MQTTMisuse? {
        var machine = try serverMachine(state)
        var output = ByteBuffer()
        do throws(MQTTMisuse) { try machine.send(message, into: &output) } catch {
            let silent = output.isEmpty
            #expect(silent)
            return error
        }
        return nil
    }

    private func client(_ state: String, _ message: MQTTClientOutgoing) throws -> MQTTMisuse? {
        var machine = try clientMachine(state)
        var output = ByteBuffer()
        do throws(MQTTMisuse) { try machine.send(message, into: &output) } catch {
            let silent = output.isEmpty
            #expect(silent)
            return error
        }
        return nil
    }

    @Test("A server asks for more in its turn alone, by CONNECT's method")
    func serverTurn() throws {
        let more = MQTTServerOutgoing.auth(auth(.continueAuthentication)), enough = MQTTServerOutgoing.auth(auth(.success))
        for state in ["connecting with method", "re-authenticating"] { #expect(try server("server v5 \(state)", more) == nil) }
        #expect(try server("server v5 re-authenticating", enough) == nil)
        for state in ["connecting", "challenged", "open", "open with method", "re-challenged"] {
            #expect(try server("server v5 \(state)", more) == .authenticationInvalid)
        }
        // It is CONNACK that ends the first authentication.
        #expect(try server("server v5 connecting with method", enough) == .authenticationInvalid)
        #expect(try server("server v5 connecting with method", .auth(auth(.reAuthenticate))) == .authenticationInvalid)
        #expect(try server("server v5 connecting with method", .auth(auth(.continueAuthentication, method: "SCS"))) == .authenticationInvalid)
        #expect(try server("server new", more) == .notOpen)
    }

    @Test("[MQTT-4.12.0-5], [MQTT-4.12.0-6] A CONNACK that accepts names CONNECT's method, or none")
    func connackMethod() throws {
        #expect(try server("server v5 connecting with method", .connack(connack(method: authMethod))) == nil)
        #expect(try server("server v5 connecting with method", .connack(connack())) == .authenticationInvalid)
        #expect(try server("server v5 challenged", .connack(connack(method: authMethod))) == .authenticationInvalid)
        #expect(try server("server v5 connecting", .connack(connack(method: authMethod))) == .authenticationInvalid)
        #expect(try server("server v5 challenged", .connack(MQTTConnack(reason: .notAuthorized))) == nil)
    }

    @Test("A client answers in its turn and begins again when the connection is open")
    func clientTurn() throws {
        let step = MQTTClientOutgoing.auth(auth(.continueAuthentication)), again = MQTTClientOutgoing.auth(auth(.reAuthenticate))
        for state in ["challenged", "re-challenged"] { #expect(try client("client v5 \(state)", step) == nil) }
        #expect(try client("client v5 open with method", again) == nil)
        for state in ["connecting with method", "open with method", "re-authenticating", "open"] {
            #expect(try client("client v5 \(state)", step) == .authenticationInvalid)
        }
        for state in ["challenged", "re-authenticating", "re-challenged", "open"] {
            #expect(try client("client v5 \(state)", again) == .authenticationInvalid)
        }
        #expect(try client("client v5 connecting", again) == .notOpen)
        #expect(try client("client v5 challenged", .auth(auth(.continueAuthentication, method: "SCS"))) == .authenticationInvalid)
        #expect(try client("client v5 challenged", .auth(auth(.success))) == .authenticationInvalid)
        // Nothing else until CONNACK [MQTT-3.1.2-30].
        #expect(try client("client v5 challenged", .pingreq) == .notOpen)
    }

    @Test("A method needs v5, and data needs a method")
    func connectMethod() throws {
        var options = MQTTConnectOptions(version: .v3_1_1, clientID: [97])
        options.authenticationMethod = authMethod
        #expect(try client("client new", .connect(options)) == .connectInvalid)
        options = MQTTConnectOptions(clientID: [97])
        options.authenticationData = [1]
        #expect(try client("client new", .connect(options)) == .connectInvalid)
        options.authenticationMethod = [0xFF]
        #expect(try client("client new", .connect(options)) == .connectInvalid)
    }

    @Test("A client that leaves the server's question open is given up, with a CONNACK")
    func silence() throws {
        var machine = try serverMachine("server v5 challenged")
        var output = ByteBuffer()
        let deadline = machine.deadline
        #expect(deadline == startOfTime.advanced(bySeconds: 10))
        var violation: MQTTViolation?
        do throws(MQTTViolation) { try machine.wake(at: deadline, into: &output) } catch { violation = error }
        let said = output.span.array
        #expect(violation == .connectTimedOut && said == [0x20, 3, 0, 0x80, 0])
        let patient = try serverMachine("server v5 connecting with method").deadline
        #expect(patient == .never)
    }

    @Test("Texts that do not fit the peer's maximum packet size are left out; data that does not is a mistake")
    func size() throws {
        var terms = connack(method: authMethod)
        terms.packetSizeMax = 16
        var peer = try serverMachine("server v5 connecting with method")
        var client = try clientMachine("client v5 connecting with method")
        var output = ByteBuffer()
        try peer.send(.connack(terms), into: &output)
        let welcome = output.span.array
        var input = ByteReader(welcome.span)
        _ = try client.nextEvent(from: &input, into: &output)
        output.removeAll()
        var message = auth(.reAuthenticate, data: [1, 2, 3, 4])
        var misuse: MQTTMisuse?
        do throws(MQTTMisuse) {
            try client.send(.auth(auth(.reAuthenticate, data: [1, 2, 3, 4, 5])), into: &output)
        } catch { misuse = error }
        #expect(misuse == .packetTooLarge)
        message.data = [1, 2]
        message.text = "hello"
        try client.send(.auth(message), into: &output)
        let said = output.span.array
        #expect(said == [0xF0, 13, 0x19, 11, 0x15, 0, 3, 83, 67, 82, 0x16, 0, 2, 1, 2])
    }

    @Test("Section 3.1.2.11.7: a client that wants no texts gets AUTH without")
    func problemText() throws {
        for wanted in [true, false] {
            var client = try clientMachine("client new")
            var server = try serverMachine("server new")
            var options = MQTTConnectOptions(clientID: [97])
            options.authenticationMethod = authMethod
            options.requestsProblemText = wanted
            var output = ByteBuffer()
            try client.send(.connect(options), into: &output)
            let hello = output.span.array
            var input = ByteReader(hello.span)
            _ = try server.nextEvent(from: &input, into: &output)
            output.removeAll()
            var message = auth(.continueAuthentication)
            message.text = "hi"
            message.userProperties = [0x26, 0, 1, 107, 0, 1, 118]
            try server.send(.auth(message), into: &output)
            let said = output.count
            #expect(said == (wanted ? 22 : 10))
        }
    }
}

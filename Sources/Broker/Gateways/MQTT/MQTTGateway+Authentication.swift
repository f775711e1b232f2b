import MartletBytes
import MartletCore
import MartletDriver
import MartletEventLoop
import MartletMQTTProtocol
import MartletShard

/// Enhanced authentication: CONNECT waits until the client has answered all challenges.
extension MQTTGateway {
    /// A CONNECT, or a re-authentication, whose exchange goes on.
    final class Authentication {
        let method: [UInt8]
        let exchange: any MQTTAuthenticationExchange
        /// nil: the connection is open.
        let connect: MQTTConnect?
        /// What its ranges speak of.
        let bytes: [UInt8]

        init(_ method: [UInt8], _ exchange: any MQTTAuthenticationExchange, _ connect: MQTTConnect?, _ bytes: [UInt8]) {
            self.method = method
            self.exchange = exchange
            self.connect = connect
            self.bytes = bytes
        }
    }

    func beginAuthentication(
        _ connect: MQTTConnect, in bytes: Span<UInt8>, _ channel: MQTTServerChannel, _ machine: inout MQTTServerMachine
    ) -> ConnectAnswer {
        let method = connect.authenticationMethod.map { bytes.at($0).array } ?? []
        guard let make = options.authentication[method.span.text] else {
            return refuse(channel, &machine, .badAuthenticationMethod, "unknown authentication method")
        }
        if let owner = shard.router.owner(of: bytes.at(connect.clientID)), owner != shard.number { return .over(.moved(shard: owner)) }
        let authentication = Authentication(method, make(), connect, bytes.array)
        return proceed(authentication, connect.authenticationData.map { bytes.at($0).array }, channel, &machine)
    }

    /// AUTH.
    func authenticate(_ auth: MQTTAuth, in bytes: Span<UInt8>, _ channel: MQTTServerChannel, _ machine: inout MQTTServerMachine) -> ConnectAnswer {
        let data = auth.data.map { bytes.at($0).array }
        if let authentication = channel.authentication { return proceed(authentication, data, channel, &machine) }
        let method = bytes.at(auth.method).array
        guard let make = options.authentication[method.span.text] else {
            return refuse(channel, &machine, .badAuthenticationMethod, "unknown authentication method")
        }
        return proceed(Authentication(method, make(), nil, []), data, channel, &machine)
    }

    private func proceed(
        _ authentication: Authentication, _ data: [UInt8]?, _ channel: MQTTServerChannel, _ machine: inout MQTTServerMachine
    ) -> ConnectAnswer {
        channel.authentication = nil
        switch authentication.exchange.answer(data) {
        case .challenge(let challenge):
            channel.authentication = authentication
            let auth = MQTTAuth.Owned(reason: .continueAuthentication, method: authentication.method, data: challenge)
            say(.auth(auth), &machine, channel.slot)
            return .waiting
        case .success(let data):
            if let connect = authentication.connect {
                let bytes = authentication.bytes
                return admit(connect, in: bytes.span, channel, &machine, authentication: (authentication.method, data))
            }
            say(.auth(MQTTAuth.Owned(reason: .success, method: authentication.method, data: data)), &machine, channel.slot)
            return .waiting
        case .refusal: return refuse(channel, &machine, .notAuthorized, "authentication failed")
        }
    }
}

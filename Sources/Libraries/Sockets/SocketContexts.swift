package import MartletNet
package import MartletTLS
internal import Synchronization

/// TLS contexts for those who give options. A client's is kept for the next connection with the same options, so that the trust store is read
/// once and sessions are resumed.
package enum SocketContexts {
    private static let clients = Mutex<[(options: TLSClientOptions, context: TLSContext)]>([])
    private static let clientsMax = 16

    package static func client(_ options: TLSClientOptions, _ place: String) throws(NetError) -> TLSContext {
        if let known = clients.withLock({ $0.first { $0.options == options }?.context }) { return known }
        do throws(TLSError) {
            let context = try TLSContext(client: options)
            clients.withLock { clients in
                if clients.count >= clientsMax { clients.removeFirst() }
                clients.append((options, context))
            }
            return context
        } catch {
            throw NetError(.tls, .handshake, place, detail: error.description)
        }
    }

    package static func server(_ options: TLSServerOptions, _ place: String) throws(NetError) -> TLSContext {
        do throws(TLSError) { return try TLSContext(server: options) } catch {
            throw NetError(.tls, .listen, place, detail: error.description)
        }
    }
}

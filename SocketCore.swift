
extension ZMTPSecurity {
    /// Frames are on the wire as they are.
    var isClear: Bool {
        switch self {
        case .null, .plainClient, .plainServer: true
        case .curveClient, .curveServer: false
        }
    }
}

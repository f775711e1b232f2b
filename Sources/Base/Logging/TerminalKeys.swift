import CLinux

/// The terminal at stdin while a program echoes what is typed itself: keys come one by one and are not shown. Signals are sent as ever.
public struct TerminalKeys: ~Copyable {
    /// Nil if stdin is no terminal. One at a time.
    public init?() {
        guard cl_is_terminal(0) == 1, cl_terminal_keys(0, 1) == 0 else { return nil }
    }

    deinit { _ = cl_terminal_keys(0, 0) }
}

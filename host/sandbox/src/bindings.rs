//! What wasmtime makes of the contract in `wit/`: the host's side of it.
//! Not for: handwritten code.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "generated code"
)]

wasmtime::component::bindgen!({
    path: "../../wit",
    inline: "
        package keyreel:host;
        world host {
            import keyreel:key-provider/secrets@0.1.1;
            import keyreel:key-provider/sealed-keys@0.1.1;
            import keyreel:key-provider/session-cache@0.1.1;
            import keyreel:key-provider/log@0.1.1;
            export keyreel:key-provider/provider@0.1.1;
            export keyreel:key-provider/key-admin@0.1.1;
        }
    ",
    world: "keyreel:host/host",
    imports: {
        "keyreel:key-provider/secrets.get": async | trappable,
        "keyreel:key-provider/secrets.generate": async | trappable,
        "keyreel:key-provider/sealed-keys.generate": async | trappable,
        "keyreel:key-provider/session-cache": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "keyreel:key-provider/secrets.secret": crate::secrets::Secret,
    },
});

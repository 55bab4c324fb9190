//! What `wit-bindgen` makes of the contract: the world of a plain provider, and the one export
//! more of a provider that mints KEKs. Where a component uses both, the linker adds them up to the
//! world `key-provider-admin`.
//! Not for: handwritten code.
#![expect(missing_docs, unreachable_pub, reason = "generated code")]

pub mod provider_world {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "key-provider",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "__export_provider",
    });
}

pub mod key_admin_world {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package keyreel:plugin-sdk;
            world key-admin { export keyreel:key-provider/key-admin@0.1.1; }
        ",
        world: "keyreel:plugin-sdk/key-admin",
        pub_export_macro: true,
        export_macro_name: "__export_key_admin",
        with: {
            "keyreel:key-provider/types@0.1.1":
                crate::bindings::provider_world::keyreel::key_provider::types,
        },
    });
}

pub use provider_world::exports::keyreel::key_provider::provider;
pub use provider_world::keyreel;

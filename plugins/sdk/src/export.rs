//! What [`export!`](crate::export!) expands to: the glue between the generated traits and
//! [`Provider`](crate::Provider), [`KeyAdmin`](crate::KeyAdmin).
//! Not for: direct use.

pub use crate::bindings::key_admin_world::exports::keyreel::key_provider::key_admin;
pub use crate::bindings::key_admin_world::{self, __export_key_admin};
pub use crate::bindings::provider_world::exports::keyreel::key_provider::provider;
pub use crate::bindings::provider_world::{self, __export_provider};

/// Implements `provider` for a component type of its own.
#[doc(hidden)]
#[macro_export]
macro_rules! __glue {
    ($provider:ty) => {
        struct __KeyreelComponent;

        ::std::thread_local! {
            static __KEYREEL_INSTANCE: ::std::cell::RefCell<::std::option::Option<$provider>> =
                const { ::std::cell::RefCell::new(::std::option::Option::None) };
        }

        fn __keyreel_with<T>(
            call: impl ::std::ops::FnOnce(&$provider) -> ::std::result::Result<T, $crate::Error>,
        ) -> ::std::result::Result<T, $crate::Error> {
            __KEYREEL_INSTANCE.with_borrow(|instance| match instance {
                ::std::option::Option::Some(provider) => call(provider),
                ::std::option::Option::None => ::std::result::Result::Err($crate::Error::internal(
                    "not-configured",
                    "configure was not called",
                )),
            })
        }

        impl $crate::export::provider::Guest for __KeyreelComponent {
            fn describe() -> $crate::Description {
                <$provider as $crate::Provider>::describe()
            }

            fn validate(
                config: ::std::string::String,
            ) -> ::std::result::Result<$crate::Validated, $crate::Error> {
                <$provider as $crate::Provider>::validate(&config)
            }

            fn configure(
                config: ::std::string::String,
            ) -> ::std::result::Result<(), $crate::Error> {
                let provider = <$provider as $crate::Provider>::configure(&config)?;
                __KEYREEL_INSTANCE.set(::std::option::Option::Some(provider));
                ::std::result::Result::Ok(())
            }

            fn health(
                info: $crate::CallInfo,
            ) -> ::std::result::Result<$crate::Health, $crate::Error> {
                __keyreel_with(|provider| $crate::Provider::health(provider, &info))
            }

            fn unwrap_dek(
                info: $crate::CallInfo,
                kek: $crate::Kek,
                envelope: $crate::Envelope,
            ) -> ::std::result::Result<$crate::UnwrappedDek, $crate::Error> {
                __keyreel_with(|provider| {
                    $crate::Provider::unwrap_dek(provider, &info, &kek, &envelope)
                })
            }
        }
    };
}

/// Implements `key-admin` for the component type that `__glue!` made.
#[doc(hidden)]
#[macro_export]
macro_rules! __glue_admin {
    ($provider:ty) => {
        impl $crate::export::key_admin::Guest for __KeyreelComponent {
            fn generate_kek(
                info: $crate::CallInfo,
                id: ::std::string::String,
                algorithm: ::std::string::String,
            ) -> ::std::result::Result<$crate::Kek, $crate::Error> {
                __keyreel_with(|provider| {
                    $crate::KeyAdmin::generate_kek(provider, &info, &id, &algorithm)
                })
            }
        }
    };
}

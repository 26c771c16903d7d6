// Package idptest is an identity provider for tests: OpenID Connect with discovery,
// rotating keys, the code flow with PKCE, the device flow (RFC 8628) and back-channel
// logout. It keeps to the rules, so that a login by it is one as others have it, and
// breaks each of them where a test says so: see Faults.
package idptest

// Package webhook is the signature of a call, as the Standard Webhooks specification
// says it (https://www.standardwebhooks.com): three headers,
//
//	webhook-id         names the call; the same when it is sent again
//	webhook-timestamp  when it was sent, in seconds since 1970
//	webhook-signature  v1,BASE64 of an HMAC with SHA-256; several with spaces between
//
// of which the HMAC is over ID.TIMESTAMP.BODY, keyed by a secret that both sides have.
//
// What holds of Verify: any other body, id, time or secret is refused; what a signature
// is compared with takes the same time whatever it is; a call whose time is further than
// Tolerance from the clock is refused, so that one that was overheard is good for no
// longer. That it does nothing twice before that is for who keeps the ids.
package webhook

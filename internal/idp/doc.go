// Package idp asks an identity provider who somebody is. It is the relying party of
// OpenID Connect: the code flow with PKCE, the device flow, and back-channel logout.
//
// In it: what the provider says, and whether it is to be believed. Not in it: sessions,
// which are internal/control/access', and what somebody may do.
//
// # Invariants
//
//  1. An identity comes from an ID token only that a key of the provider has signed, as
//     its key set has them now, by RS256, ES256 or EdDSA; by no other algorithm, whatever
//     the token or the provider says.
//  2. The token is of the issuer of the settings, for our client (its audience has it,
//     and where an authorized party is named, that is us), not expired, and not issued in
//     the future but for Skew. Its at_hash, where it has one, is that of the access token.
//  3. The token of a code has the nonce of the attempt. A code is sent with the verifier
//     whose SHA-256 the provider got at the beginning (PKCE, S256), in each flow that
//     has a redirect.
//  4. An answer that names another issuer, or none where the provider promises to name
//     itself, is refused before its code is sent anywhere (RFC 9207).
//  5. New asks nobody. A provider that cannot be reached, or that describes itself wrongly,
//     is a job.ErrUnavailable for who logs in, and is asked again RetryAfter later.
//     What it has said of itself is asked anew each RefreshEvery; the old is good until
//     the new is there.
//  6. Nothing but the addresses of the provider's own description is asked, by TLS, or on
//     loopback where the issuer is there. It sends us nowhere else, and no answer is
//     read beyond a bound.
//  7. Groups are those of the claim, and no others. More than MostGroups, or a token
//     that only says where they are kept, is refused: rights that come and go with how
//     many groups one has help nobody.
//  8. An email counts as a name only where the provider says that it is verified.
//  9. A logout token is one by its own rules: invariants 1 and 2 hold, it has the event, an
//     ID and a subject or a session, no nonce, and was issued within LogoutAge.
//
// # Failures
//
//	the provider is down at the start       the node starts; logins answer 503 until it is back
//	it is down later                        sessions go on; logins answer 503
//	it has new keys                         the first token of one has them read again
//	its secret for us changes               the file is read for each question
//	its clock is ahead                      by up to Skew it does no harm
//
// # Not promised
//
// Groups are those at the login: what changes later counts with the next one, or ends
// with the session. Distributed claims are not fetched, nor is the endpoint for user
// information.
package idp

package api

import "time"

// LoginWays is how one may log in besides by a token.
type LoginWays struct {
	// Issuer is the identity provider's name, a URL. Empty: there is none.
	Issuer string `json:"issuer,omitempty"`
}

// LoginRequest is the beginning of a login by a browser.
type LoginRequest struct {
	// Redirect is where the browser comes back to: a port of loopback.
	Redirect string `json:"redirect"`
	// State comes back with the answer; Nonce is told when the login is finished.
	State string `json:"state"`
	Nonce string `json:"nonce"`
	// Challenge is the SHA-256 of the verifier, in base64url without padding.
	Challenge string `json:"challenge"`
}

// LoginAnswer is what the browser came back with, and what its login began with.
type LoginAnswer struct {
	Code string `json:"code"`
	// Issuer is who the answer says it is of ("iss"). Empty: it does not say.
	Issuer   string `json:"issuer,omitempty"`
	Redirect string `json:"redirect"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"`
}

// LoginURL is where a browser is sent.
type LoginURL struct {
	URL string `json:"url"`
}

// DeviceLogin is a login that somebody confirms on another device.
type DeviceLogin struct {
	// Code is a secret by which the login is finished; UserCode is for who confirms it.
	Code     string `json:"code"`
	UserCode string `json:"userCode"`
	// Page is where UserCode is given; Direct, where there is one, has it already.
	Page   string `json:"page"`
	Direct string `json:"direct,omitempty"`
	// ExpiresSeconds is how long it may take, IntervalSeconds how often one may ask.
	ExpiresSeconds  int64 `json:"expiresSeconds"`
	IntervalSeconds int64 `json:"intervalSeconds"`
}

// Login is a login of the command line.
type Login struct {
	// Pending: nobody has confirmed it yet, and all else is empty. Slower: one has asked
	// too often.
	Pending bool `json:"pending,omitempty"`
	Slower  bool `json:"slower,omitempty"`
	// Token is what requests show. It is told this once.
	Token string `json:"token,omitempty"`
	// Name is whose login it is, Groups are those that count for it.
	Name   string   `json:"name,omitempty"`
	Groups []string `json:"groups,omitempty"`
	// Issuer is the identity provider.
	Issuer    string    `json:"issuer,omitempty"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
}

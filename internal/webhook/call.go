package webhook

// Call is a call of a job's webhook, of which nothing is verified yet.
type Call struct {
	// Token is what the call shows as the job's token.
	Token string
	// Signed is how it is signed.
	Signed Signed
	// Key names the call: the same call again starts nothing. Empty: its id does, if it
	// is signed.
	Key string
	// From is the address that it comes from.
	From string
	// Body is what it says.
	Body []byte
}

package caller

import "context"

// Request is what is known of a request besides who asks. The zero Request is none:
// Carillon does something by itself.
type Request struct {
	// ID names the request.
	ID string
	// From is the address that it comes from, where no Caller says so.
	From string
	// By and Reason are who asks and why, in the client's own words, of a request that
	// has no other place for them.
	By, Reason string
}

type requestKey struct{}

// WithRequest returns a context of a request.
func WithRequest(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// RequestOf returns the request that ctx is of.
func RequestOf(ctx context.Context) Request {
	r, _ := ctx.Value(requestKey{}).(Request)
	return r
}

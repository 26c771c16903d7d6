package control

import "context"

type callerKey struct{}

// WithCaller returns a context of requests of an account, as the connection
// proves it. What they say of themselves does not count then.
func WithCaller(ctx context.Context, account string) context.Context {
	return context.WithValue(ctx, callerKey{}, account)
}

// by returns who asks: the proven account, or else who it says it is.
func by(ctx context.Context, said string) string {
	if account, ok := ctx.Value(callerKey{}).(string); ok {
		return account
	}
	return said
}

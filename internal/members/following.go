package members

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Following prepares a client whose endpoints are to change while others use it. Where a
// member is asked by its address, the client of etcd reads its own endpoints without their
// lock; so that is done by another client, still, whose endpoints stay as they are.
// It is called before anybody uses c.
func Following(c, still *clientv3.Client) {
	c.Maintenance = byAddress{Maintenance: c.Maintenance, still: still.Maintenance}
}

// byAddress asks members that are named by their addresses by a client of its own.
type byAddress struct {
	clientv3.Maintenance

	still clientv3.Maintenance
}

// Status implements clientv3.Maintenance.
func (b byAddress) Status(ctx context.Context, endpoint string) (*clientv3.StatusResponse, error) {
	return b.still.Status(ctx, endpoint)
}

// Defragment implements clientv3.Maintenance.
func (b byAddress) Defragment(ctx context.Context, endpoint string) (*clientv3.DefragmentResponse, error) {
	return b.still.Defragment(ctx, endpoint)
}

// HashKV implements clientv3.Maintenance.
func (b byAddress) HashKV(ctx context.Context, endpoint string, rev int64) (*clientv3.HashKVResponse, error) {
	return b.still.HashKV(ctx, endpoint, rev)
}

package overetcd_test

import (
	"context"
	"log"

	"github.com/carillon-cron/carillon/client/overetcd"
	"github.com/carillon-cron/carillon/job"
)

// Register a scheduled job straight in etcd, also while no node is up.
func Example() {
	ctx := context.Background()
	c, err := overetcd.Open(ctx, overetcd.Config{Endpoints: []string{"http://etcd1:2379"}, By: "deployer"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	spec := job.Spec{Schedules: []string{"0 2 * * *"}, Command: []string{"/usr/bin/backup", "--all"}}
	if _, err := c.Jobs.Register(ctx, job.Key{Namespace: "default", Name: "backup"}, spec); err != nil {
		log.Fatal(err)
	}
}

package client_test

import (
	"context"
	"fmt"
	"log"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// Register a job, start it now, and wait for its end.
func Example() {
	ctx := context.Background()
	c, err := client.New(client.Config{Server: "http://127.0.0.1:8420"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	manifest := `
apiVersion: carillon/v1
kind: Job
metadata: {name: backup}
spec:
  schedule: "0 3 * * *"
  command: ["/usr/bin/backup", "--all"]
`
	if _, err := c.Jobs.Apply(ctx, "backup.yaml", []byte(manifest), false); err != nil {
		log.Fatal(err)
	}
	started, err := c.Jobs.Start(ctx, job.Key{Namespace: "default", Name: "backup"}, api.StartRequest{By: "nightly-build"})
	if err != nil {
		log.Fatal(err)
	}
	err = c.Runs.Results(ctx, started.RunID, func(r api.Result) {
		if r.Run != nil {
			fmt.Println(r.Run.State)
		}
	})
	if err != nil {
		log.Fatal(err)
	}
}

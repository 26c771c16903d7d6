package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
)

// versionAnswer is what version prints as JSON; Server is nil when it does
// not answer.
type versionAnswer struct {
	Client api.Version  `json:"client"`
	Server *api.Version `json:"server"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", GroupID: groupHere, Args: noArgs,
		Short:   "Show the versions of this program and of the server",
		Example: "  carillon version\n  carillon version -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			answer := versionAnswer{Client: a.ownVersion()}
			ctx, cancel := context.WithTimeout(cmd.Context(), briefly)
			defer cancel()
			server, err := a.client.Cluster.Version(ctx)
			if err == nil {
				answer.Server = &server
			} else if cmd.Context().Err() != nil {
				return err
			}
			switch a.output {
			case formatJSON, formatYAML, formatJSONPath, formatGoTemplate:
				return a.printValue(answer)
			case formatName:
				fmt.Fprintln(a.out, answer.Client.Version)
				return nil
			}
			fmt.Fprintf(a.out, "carillon %s\n", oneLine(answer.Client.String()))
			if answer.Server == nil {
				a.note("no server at %s", a.client.Server())
				return nil
			}
			fmt.Fprintf(a.out, "server %s\n", oneLine(server.String()))
			return nil
		},
	}
}

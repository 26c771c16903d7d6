package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
)

// webhookVerbs are the verbs of webhooks.
type webhookVerbs struct{ *call }

// webhookCommand is `webhook`.
func (wv webhookVerbs) webhookCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "webhook", GroupID: groupJobs, Args: noOrder,
		Short:   "Create secrets that sign the calls of webhooks",
		Example: "  carillon webhook secret deploy",
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(wv.secretCommand())
	return cmd
}

func (wv webhookVerbs) secretCommand() *cobra.Command {
	var file, reason string
	cmd := &cobra.Command{
		Use: "secret JOB", Args: exactlyOne("job"), ValidArgsFunction: wv.completeJobs,
		Short: "Create the secret that signs the calls of a job's webhook, and print it",
		Long: "Create the secret that signs the calls of a job's webhook (`webhook: {signed: true}`),\n" +
			"and print it, this once. Calls that are signed with the former secret are refused from\n" +
			"now on. Where the other side has made the secret, give that by --secret-file.",
		Example: "  carillon webhook secret deploy\n  carillon webhook secret deploy --secret-file secret.txt",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := wv.key(args[0])
			if err != nil {
				return err
			}
			given := ""
			if file != "" {
				text, err := wv.secretFile(file)
				if err != nil {
					return usagef("--secret-file: %w", err)
				}
				if given = strings.TrimSpace(string(text)); given == "" {
					return usagef("--secret-file %s is empty", file)
				}
			}
			v, err := wv.client.Jobs.WebhookSecret(cmd.Context(), key, given, api.Order{By: wv.user(), Reason: reason})
			if err != nil {
				return err
			}
			if wv.asObject() {
				return wv.printValue(v)
			}
			if given != "" {
				wv.note("calls of the webhook of job %s are good if they are signed with this secret", key)
				return nil
			}
			fmt.Fprintln(wv.out, v.Secret)
			wv.note("sign the calls of the webhook of job %s with this secret; it is not shown again", key)
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "secret-file", "", "`FILE` with the secret that the other side has made; - is the standard input")
	reasonFlag(cmd, &reason)
	return cmd
}

// maxSecretFile bounds what is read of a secret's file.
const maxSecretFile = 4 << 10

func (wv webhookVerbs) secretFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(wv.opts.Stdin, maxSecretFile))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSecretFile))
}

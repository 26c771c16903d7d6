package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/internal/intake"
	"github.com/carillon-cron/carillon/plan"
)

func (pv planVerbs) queryCommand() *cobra.Command {
	return &cobra.Command{
		Use: "query FILE", Args: exactlyOne("file"),
		Short: "Send a query, and print the report that answers it",
		Long: "Send a query in XML or JSON, and print the report that answers it, in the same format:\n" +
			"what has become of a plan and, where the query asks for them, of its tasks. With - it is\n" +
			"read from standard input.",
		Example: "  echo '<query upstream=\"erp\" plan=\"close-2027-01\" tasks=\"true\"/>' | carillon plan query -",
		RunE: func(cmd *cobra.Command, args []string) error {
			in := pv.opts.Stdin
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer file.Close()
				in = file
			}
			r := bufio.NewReader(in)
			format, _ := plan.Look(r)
			if format == "" {
				return usagef("%s: a query is XML or JSON", args[0])
			}
			text, err := io.ReadAll(io.LimitReader(r, plan.MaxQueryBytes+1))
			if err != nil {
				return err
			}
			report, err := pv.client.Plans.Report(cmd.Context(), pv.namespace, format, text)
			if err != nil {
				return err
			}
			defer report.Close()
			_, err = io.Copy(pv.out, report)
			return err
		},
	}
}

func (pv planVerbs) intakeCommand() *cobra.Command {
	var cfg intake.Config
	var listen string
	var files intake.TLS
	cmd := &cobra.Command{
		Use: "intake", Args: noArgs,
		Short: "Take plans from a directory, or over TCP, and send them",
		Long: "Take plans and queries from a directory that is watched, over TCP, or both, and send\n" +
			"them, until it is interrupted. All of it happens with your rights, and in one namespace.\n\n" +
			"A file NAME.xml, .json or .yaml that is renamed into the directory gets its receipt in\n" +
			"NAME.xml.receipt.xml (or .json), and is then renamed NAME.xml.accepted or .refused;\n" +
			"with --reports NAME.xml.report.xml says what becomes of it, written anew as it goes on.\n\n" +
			"Over TCP each connection has one document, at whose end its sender closes its side, and\n" +
			"gets one receipt or report. An address that other hosts reach needs --tls-cert, --tls-key\n" +
			"and --client-ca.",
		Example: "  carillon plan intake --dir /var/spool/erp --reports -n billing\n  carillon plan intake --listen 127.0.0.1:8430",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.Dir == "" && listen == "" {
				return usagef("intake: give --dir, --listen, or both")
			}
			if cfg.Reports && cfg.Dir == "" {
				return usagef("--reports: is for plans from a directory; give --dir")
			}
			if cfg.Dir != "" {
				dir, err := filepath.Abs(cfg.Dir)
				if err != nil {
					return err
				}
				cfg.Dir = dir
				if err := intake.CheckDir(dir); err != nil {
					return usagef("--dir: %v", err)
				}
			}
			if listen == "" && files != (intake.TLS{}) {
				return usagef("--tls-cert, --tls-key, --client-ca: are for --listen")
			}
			if listen != "" {
				l, err := intake.Listen(cmd.Context(), listen, files)
				if err != nil {
					return usagef("--listen: %v", err)
				}
				defer l.Close()
				cfg.Listener = l
				pv.note("listening on %s", l.Addr())
			}
			cfg.Namespace = pv.namespace
			var mu sync.Mutex
			t, err := intake.New(cfg, intake.Deps{Plans: pv.client.Plans, Log: func(line string) {
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintln(pv.out, line)
			}})
			if err != nil {
				return err
			}
			return t.Run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&cfg.Dir, "dir", "", "the `DIRECTORY` that is watched; other accounts of the host must not be able to write to it")
	cmd.Flags().BoolVar(&cfg.Reports, "reports", false, "write reports beside the files, as plans go on")
	cmd.Flags().StringVar(&listen, "listen", "", "take documents over TCP on `HOST:PORT`")
	cmd.Flags().StringVar(&files.Cert, "tls-cert", "", "the certificate of --listen, as a PEM `FILE`")
	cmd.Flags().StringVar(&files.Key, "tls-key", "", "its key, as a PEM `FILE`")
	cmd.Flags().StringVar(&files.ClientCA, "client-ca", "", "PEM `FILE` with the authorities of those who may connect")
	return cmd
}

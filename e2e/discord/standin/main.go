// Standin is the stand-in for Discord as a process, a proxy that breaks another server when it is told to, or a dead
// man's switch: see package discord.
//
//	standin -listen :8090 -control 127.0.0.1:8091 -id 1 -token secret -log messages.jsonl
//	standin -listen :80 -control 127.0.0.1:8081 -to http://127.0.0.1:2586
//	standin -listen :8070 -control 127.0.0.1:8071 -beat
package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"

	"homelab-patch-orchestrate/e2e/discord"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "standin: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", ":8090", "address of the server")
	control := flag.String("control", "127.0.0.1:8091", "address of the control interface")
	to := flag.String("to", "", "be a proxy before the ntfy server of this `URL`, and not Discord")
	beat := flag.Bool("beat", false, "be a dead man's switch")
	id := flag.String("id", "", "id of the webhook")
	token := flag.String("token", "", "its token")
	path := flag.String("log", "", "`file` that gets each message, a line of JSON each")
	noRate := flag.Bool("no-channel-rate", false, "take more than 30 messages a minute")
	flag.Parse()
	front := &discord.Front{Address: *listen}
	var server *discord.Server
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("it takes no %q", flag.Arg(0))
	case *beat:
		front.Handler, front.Answer = http.HandlerFunc(discord.Beat), discord.AnswerBeat
	case *to != "":
		proxy, err := discord.Proxy(*to)
		if err != nil {
			return err
		}
		front.Handler, front.Answer = proxy, discord.AnswerNtfy
	case *id == "" || *token == "":
		return errors.New("it takes -id and -token, or -to, or -beat")
	default:
		server = &discord.Server{ID: *id, Token: *token, NoChannelRate: *noRate}
		if *path != "" {
			log, err := os.OpenFile(*path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			defer log.Close()
			server.Log = log
		}
		front.Handler, front.Answer = server, discord.Answer
	}
	if err := front.Open(); err != nil {
		return err
	}
	return http.ListenAndServe(*control, discord.Control(front, server))
}

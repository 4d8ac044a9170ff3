package discord

import (
	"encoding/json"
	"net/http"
)

// Control is the test's own way in. It belongs on an address that only the test can reach.
//
//	GET    /messages   what was taken; only if server is not nil
//	DELETE /messages   forget it, and start all rates anew
//	GET    /fault      what is wrong
//	PUT    /fault      set it, as JSON: {"kind": "429", "retry_after": 2}
//	GET    /requests   all requests that ended
//	DELETE /requests   forget them
func Control(front *Front, server *Server) http.Handler {
	mux := http.NewServeMux()
	if server != nil {
		mux.HandleFunc("GET /messages", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, append([]Message{}, server.Messages()...))
		})
		mux.HandleFunc("DELETE /messages", func(w http.ResponseWriter, _ *http.Request) {
			server.Forget()
			w.WriteHeader(http.StatusNoContent)
		})
	}
	mux.HandleFunc("GET /fault", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, front.Fault())
	})
	mux.HandleFunc("PUT /fault", func(w http.ResponseWriter, r *http.Request) {
		var fault Fault
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&fault)
		if err == nil {
			err = front.Set(fault)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, append([]Request{}, front.Requests()...))
	})
	mux.HandleFunc("DELETE /requests", func(w http.ResponseWriter, _ *http.Request) {
		front.Forget()
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

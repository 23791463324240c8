package jsonapi

import (
	"mime"
	"strings"
)

// CheckContentType refuses a request body of another media type than JSON:API's, or plain JSON.
// JSON:API allows the parameters ext and profile; no extension is supported, any profile is ignored.
func CheckContentType(header string) error {
	unsupported := NewError(415, CodeMediaType, "the body must be %s (or application/json), without extensions or other parameters", MediaType).AtHeader("Content-Type")
	mediaType, parameters, err := mime.ParseMediaType(header)
	switch {
	case err != nil:
		return unsupported
	case mediaType == "application/json":
		if charset, ok := parameters["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
			return unsupported
		}
		return nil
	case mediaType != MediaType || !plain(parameters):
		return unsupported
	}
	return nil
}

// CheckAccept refuses a request that accepts JSON:API only with extensions or unknown parameters,
// or nothing that the API can answer.
func CheckAccept(header string) error {
	if strings.TrimSpace(header) == "" {
		return nil
	}
	for _, part := range strings.Split(header, ",") {
		mediaType, parameters, err := mime.ParseMediaType(part)
		if err != nil || parameters["q"] == "0" {
			continue
		}
		delete(parameters, "q")
		switch mediaType {
		case MediaType:
			if plain(parameters) {
				return nil
			}
		case "*/*", "application/*", "application/json":
			return nil
		}
	}
	return NewError(406, CodeNotAcceptable, "the answer is %s, without extensions or other parameters", MediaType).AtHeader("Accept")
}

func plain(parameters map[string]string) bool {
	for name := range parameters {
		if name != "profile" {
			return false
		}
	}
	return true
}

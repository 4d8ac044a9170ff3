package discord

import "time"

// The limits of a webhook message. Sources, all of them the vendor's:
//
//   - https://docs.discord.com/developers/resources/webhook#execute-webhook
//   - https://docs.discord.com/developers/resources/message#embed-object-embed-limits
//   - https://docs.discord.com/developers/components/reference#button
//   - https://docs.discord.com/developers/resources/message#allowed-mentions-object
//
// They count "characters". A maintainer says that these are code points
// (https://github.com/discord/discord-api-docs/issues/1315). The stand-in counts UTF-16 code units, of which a text
// never has fewer: what it lets through is short enough by either count. For the same reason it counts white space at
// both ends, which Discord may trim, and yet takes a text of nothing else for an empty one.
const (
	MaxContent     = 2000
	MaxUsername    = 80
	MaxEmbeds      = 10
	MaxTitle       = 256
	MaxDescription = 4096
	MaxFields      = 25
	MaxFieldName   = 256
	MaxFieldValue  = 1024
	MaxFooter      = 2048
	MaxAuthor      = 256
	MaxEmbedText   = 6000 // of all embeds together: titles, descriptions, names and values of fields, footers, authors
	MaxLink        = 2048 // of a link in an embed; not in the documentation, but its API says so
	MaxRows        = 5    // "Legacy messages allow up to 5 action rows as top-level components"
	MaxButtons     = 5    // in an action row
	MaxLabel       = 80
	MaxButtonURL   = 512
	MaxMentions    = 100 // users or roles in allowed_mentions
	MaxColor       = 0xFFFFFF
	MaxBody        = 10 << 20 // https://docs.discord.com/developers/reference#uploading-files
)

// Rates. The documentation has only the global one
// (https://docs.discord.com/developers/topics/rate-limits#global-rate-limit): the others "should not be hard coded",
// and come with each answer. A maintainer named them in https://github.com/discord/discord-api-docs/issues/367. That
// of a channel is in no header before it is exceeded.
const (
	GlobalRate  = 50 // requests a second, of one address
	WebhookRate = 5  // requests in WebhookTime, of one webhook, whatever comes of them
	WebhookTime = 2 * time.Second
	ChannelRate = 30 // messages in ChannelTime, in one channel
	ChannelTime = time.Minute
)

// Codes of errors: https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
const (
	codeUnknownChannel = 10003
	codeUnknownWebhook = 10015
	codeTooLarge       = 40005
	codeEmpty          = 50006
	codeInvalidToken   = 50027
	codeInvalidForm    = 50035
	codeInvalidVersion = 50041
	codeInvalidJSON    = 50109
	codeNotForum       = 220003
)

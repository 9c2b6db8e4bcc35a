"""The leaderboard: statistics, tables, the web page and the accepted results. Nothing here needs torch."""

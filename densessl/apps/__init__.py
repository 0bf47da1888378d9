"""The application: segment pictures, see what resembles what, parse documents, in a browser and by its API.

Parts, each of which knows only those before it: `worker` opens uploads in processes with limits (`opener`), `engine`
runs networks for all who wait (`batches`), `sessions` keeps what belongs to whom, `service` has the functions, `files`
and `guard` serve results to their owners, `page` is Gradio's side of it, its API included (`page.api`, whose `results`
are typed), `run` starts it all.
"""

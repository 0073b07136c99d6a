process EXTRACT_TRACES {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple val(meta), path(movie), path(movie_manifest), path(tracked), path(tracked_manifest), path(background), path(background_manifest)
    path facts
    tuple path(plugins), val(plugins_fingerprint)
    val flags

    output:
    tuple val(meta), path('traces'), path('traces.manifest.json'), emit: traces
    path 'traces/fov_*/*_traces.csv', emit: tables, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    extract_traces.py ${flags} --movie ${movie} --tracked ${tracked} ${background ? "--background ${background}" : ''} --facts ${facts} --batch ${meta.block} ${plugins ? "--plugins ${plugins}" : ''} --output traces
    """

    stub:
    """
    stub.sh traces/ traces.manifest.json traces/fov_000/stub_fov_000_traces.csv extract_traces.${meta.block}.provenance.json
    """
}

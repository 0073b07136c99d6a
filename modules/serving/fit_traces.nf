process FIT_TRACES {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple val(meta), path(traces), path(traces_manifest)
    path facts
    tuple path(plugins), val(plugins_fingerprint)
    val flags

    output:
    path 'published/fits/*', emit: tables, optional: true
    path 'published/figures/*', emit: figures, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    fit_traces.py ${flags} --traces ${traces} --facts ${facts} --batch ${meta.block} ${plugins ? "--plugins ${plugins}" : ''} --output published/fits --figures published/figures
    """

    stub:
    """
    stub.sh published/fits/stub_fov_${meta.block}_fits.csv published/figures/fov_${meta.block}_5_fits.png fit_traces.${meta.block}.provenance.json
    """
}
